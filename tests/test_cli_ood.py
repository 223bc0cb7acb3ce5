"""`holdfast ood` and `holdfast ensemble` as users call them: what is judged, written, and refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from command_line import call, plain, refused
from holdfast import data, models, report
from holdfast.errors import DataError, OptionError, RunError
from holdfast.report.suspicion import KIND
from holdfast.uncertainty import separation

TRAIN = "train --model cnn --model-set dropout=0.3 --epochs 3 --batch 64 --no-report --quiet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ood")


@pytest.fixture(scope="module")
def run(folder):
    plain(f"{TRAIN} --data digits --out", folder / "digits")
    return folder / "digits"


@pytest.fixture(scope="module")
def judged(run, folder):
    return plain(f"ood --model {run} --data digits --against noise:uniform --out", folder / "noise")


def test_all_scores_are_judged_and_written(judged):
    expected = "max-probability entropy max-logit energy gen mahalanobis nearest vim react"
    assert [one["score"] for one in judged["scores"]] == expected.split()
    assert [one["score"] for one in judged["left_out"]] == ["mutual-information"]
    for one in judged["scores"]:
        for name in ("auroc", "aupr_in", "aupr_out", "fpr95"):
            assert 0 <= one[name]["low"] <= one[name]["value"] <= one[name]["high"] <= 1
    kept = load_file(judged["run"] + "/scores.safetensors")
    mahalanobis = next(one for one in judged["scores"] if one["score"] == "mahalanobis")
    made = separation.separate(kept["inside.mahalanobis"], kept["outside.mahalanobis"], seed=0)
    assert made.to_plain() == {name: mahalanobis[name] for name in made.to_plain()}
    assert kept["inside.place"].tolist() == list(range(360))
    assert judged["data"]["fitted_on"]["split"] == "train"
    assert judged["layer"] == "model.linear"


def test_the_page_is_made_from_the_folder_alone(judged, folder, tmp_path):
    page = (folder / "noise/report.html").read_text()
    assert page == report.render([folder / "noise"]) == KIND.write(folder / "noise").read_text()
    for text in ("mahalanobis", "noise:uniform", "FPR95", "<svg", "Fitted on"):
        assert text in page
    (tmp_path / "ood.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"damaged|cannot be read"):
        KIND.write(tmp_path)
    (tmp_path / "ood.json").write_text('{"format": 9}')
    with pytest.raises(RunError, match="format 9"):
        KIND.write(tmp_path)


def test_the_same_command_gives_the_same_figures(run, judged, tmp_path):
    again = plain(f"ood --model {run} --data digits --against noise:uniform --no-report --out", tmp_path / "again")
    assert again["scores"] == judged["scores"]
    assert again["report"] is None
    assert not (tmp_path / "again/report.html").exists()


def test_people_see_a_table_the_best_first(run, tmp_path):
    line = f"ood --model {run} --data digits --against noise:gaussian --limit 60 --score energy --score nearest:k=5"
    result = call(line, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    assert "AUROC by DeLong" in result.stdout
    assert "familiar: 60 pictures of digits; unfamiliar: 60 of noise:gaussian" in result.stdout
    shown = [line.split()[0] for line in result.stdout.splitlines() if line[:6] in ("energy", "neares")]
    scores = json.loads((tmp_path / "a/ood.json").read_text())["scores"]
    assert shown == [one["score"] for one in sorted(scores, key=lambda one: -one["auroc"]["value"])]
    assert next(one for one in scores if one["score"] == "nearest")["options"] == {"k": 5}


def test_classes_left_out_are_an_open_set(tmp_path):
    plain(f"{TRAIN} --data digits:without=7,8,9 --out", tmp_path / "run")
    found = plain(f"ood --model {tmp_path}/run --data digits --against classes:7,8,9 --out", tmp_path / "open")
    inside, outside = found["data"]["inside"], found["data"]["outside"]
    assert inside["classes"] == list("0123456")
    assert outside["classes"] == list("789")
    assert inside["n"] + outside["n"] == 360
    best = max(one["auroc"]["value"] for one in found["scores"])
    assert best > 0.7
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert card["classes"] == list("0123456")


def test_another_set_is_brought_into_shape_and_that_is_told(run, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels + ord(label)).save(tmp_path / f"pictures/{label}/{number}.png")
    found = plain(
        f"ood --model {run} --data digits --limit 50 --score entropy --against {tmp_path}/pictures --out",
        tmp_path / "a",
    )
    assert "colours made grey (BT.601)" in found["data"]["outside"]["notes"]


def test_adversarial_pictures_are_judged_with_a_warning(run, tmp_path):
    attack = f"attack --model {run} --data digits --limit 20 --eps 0.3 --attack pgd --set steps=5"
    assert plain(f"{attack} --out", tmp_path / "npz")["broken"] > 5
    plain(f"{attack} --arrays safetensors --out", tmp_path / "safetensors")
    evaluate = f"evaluate --model {run} --data digits --limit 20 --eps 0.1,0.3 --attack pgd --set steps=5 --no-checks"
    whole = plain(f"{evaluate} --no-report --out", tmp_path / "run")
    counts = []
    for kind in ("npz", "safetensors", "run"):
        line = f"ood --model {run} --data digits --score entropy --against {tmp_path / kind} --out"
        found = plain(line, tmp_path / f"ood-{kind}")
        assert "did not know of the scores" in found["data"]["outside"]["notes"][0]
        assert "did not know of the scores" in (tmp_path / f"ood-{kind}/report.html").read_text()
        counts.append((found["data"]["outside"]["n"], found["scores"][0]["auroc"]["value"]))
    assert counts[0] == counts[1]
    assert counts[2][0] == whole["success"]["k"] == counts[0][0]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ("--against digits", 1, "pictures of digits are among those of digits"),
        ("--against noise:pink", 2, "unknown noise 'pink'"),
        ("--against noise:uniform --score energi", 2, "Did you mean 'energy'"),
        ("--against noise:uniform --score energy --score energy", 2, "given twice"),
        ("--against noise:uniform --split train", 2, "fitted on the training split"),
        ("--against noise:uniform --score vim --layer model.conv1", 1, "no linear layer of the model"),
        ("--against noise:uniform --score vim --layer model.linear1", 1, "allowed: the layer that gives the logits"),
        ("--against noise:uniform --score nearest --fit-limit 20", 1, "fitted on 20 pictures; allowed: 50"),
        ("--against noise:uniform --score mutual-information", 1, "has no members"),
        ("--against noise:uniform --limit 1 --score entropy", 1, "2 or more"),
        ("--against classes:7,12", 2, "unknown class of digits '12'"),
        ("--against classes:7,7", 2, "names a class twice"),
        ("--against nowhere", 2, "unknown data set 'nowhere'"),
        ("--against nowhere", 2, "Or name a folder, noise:uniform"),
        ("--against noise:uniform --layer nope", 1, "layer 'nope' is no linear layer of the model"),
        (
            "--against classes:7,8",
            1,
            "knows 10 classes, the data have 8. Choose the data it was trained on, or train one",
        ),
    ],
)
def test_what_cannot_be_judged_is_told_in_a_line(run, tmp_path, more, code, said):
    found, text = refused(f"ood --model {run} --data digits --quiet {more} --out", tmp_path / "a")
    assert said in text
    assert found == code


def test_a_folder_of_judged_detectors_is_no_set_of_pictures(tmp_path):
    (tmp_path / "judged").mkdir()
    (tmp_path / "judged" / "detect.json").write_text("{}")
    line = f"ood --model nowhere --data digits --quiet --against {tmp_path / 'judged'} --out {tmp_path / 'a'}"
    code, text = refused(line)
    assert (code, "Run `holdfast attack`" in text) == (2, True)


# Selections and shapes, as the library has them


def test_a_selection_keeps_pictures_places_and_names():
    whole = data.load("digits", "test")
    some = data.load("digits:without=3,0", "test")
    kept = (whole.labels != 3) & (whole.labels != 0)
    assert torch.equal(some.images, whole.images[kept])
    assert torch.equal(some.place, whole.place[kept])
    assert some.classes == tuple("12456789")
    names = [whole.classes[n] for n in whole.labels[kept].tolist()]
    assert [some.classes[n] for n in some.labels.tolist()] == names
    only = data.load("digits:only=3,0", "test", limit=5)
    assert (len(only), only.classes, only.name) == (5, ("0", "3"), "digits:only=3,0")
    with pytest.raises(OptionError, match="leaves 1 classes"):
        data.load("digits:without=0,1,2,3,4,5,6,7,8")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_are_adapted_channel_by_channel(dtype):
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).to(dtype) + (0.5 if dtype == torch.float32 else 0)
    pictures = data.Pictures("some", "test", images, torch.tensor([0, 1]), ("a", "b"), torch.arange(2))
    grey = data.adapted(pictures, (1, 4, 4))
    shares = torch.tensor([0.299, 0.587, 0.114])
    expected = torch.einsum("nchw,c->nhw", images.float(), shares)[:, None]
    torch.testing.assert_close(grey.images.float(), expected, atol=0.5 if dtype == torch.uint8 else 1e-5, rtol=0)
    assert grey.images.dtype == dtype
    colour = data.adapted(grey, (3, 8, 8))
    assert colour.shape == (3, 8, 8)
    assert torch.equal(colour.images[:, 0], colour.images[:, 2])
    changes = ["colours made grey (BT.601)", "grey repeated for each colour", "resized bilinearly from 4x4 to 8x8"]
    assert list(colour.notes) == changes
    assert data.adapted(pictures, (3, 4, 4)) is pictures
    half = data.adapted(pictures, (3, 2, 2)).images.float()
    torch.testing.assert_close(half.mean((2, 3)), images.float().mean((2, 3)), atol=0.51, rtol=0)
    with pytest.raises(DataError, match="3 channels for a model of 2"):
        data.adapted(pictures, (2, 4, 4))


# Ensembles


@pytest.mark.parametrize("by", ["seeds", "bagging", "stacking", "snapshots"])
def test_members_are_trained_and_joined_in_one_go(by, tmp_path):
    line = f"{TRAIN} --epochs 2 --data digits --limit 200 --members 2 --members-by {by} --out"
    found = plain(line.replace("--epochs 3 ", ""), tmp_path / "a")
    assert (found["cost"], len(found["members"])) == (2, 2)
    model, card = models.load(tmp_path / "a")
    assert card.architecture == ("stacked" if by == "stacking" else "ensemble")
    assert card.options["made"] == by
    parts = [models.load(tmp_path / f"a/member-{n}")[0] for n in (0, 1)]
    x = data.load("digits", limit=5).x()
    torch.testing.assert_close(model.members(x), torch.stack([part(x) for part in parts]))
    assert not torch.equal(*[part(x) for part in parts])
    if by != "stacking":
        mean = torch.stack([part(x).softmax(1) for part in parts]).mean(0)
        torch.testing.assert_close(model(x).exp(), mean)
    epochs = [len(one["history"]) for one in found["members"]]
    assert epochs == ([1, 1] if by == "snapshots" else [2, 2])
    about = [json.loads((tmp_path / f"a/member-{n}/train.json").read_text()) for n in (0, 1)]
    assert (about[0]["data"] == about[1]["data"]) == (by != "bagging")
    assert plain(line.replace("--epochs 3 ", ""), tmp_path / "a", "--resume")["card"] == found["card"]


def test_an_ensemble_is_resumed_as_it_was_begun(tmp_path):
    line = f"{TRAIN} --data digits --limit 100 --members 2 --out {tmp_path / 'a'}".replace("--epochs 3", "--epochs 1")
    first = plain(line)
    (tmp_path / "a/card.json").unlink()  # as after a kill between the last member and the whole
    assert plain(line, "--resume")["card"] == first["card"]
    code, said = refused(line)
    assert (code, "not empty" in said) == (1, True)
    code, said = refused(line.replace("--members 2", "--members 3"), "--resume")
    assert (code, "'count': 2" in said) == (1, True)


def test_bagging_draws_with_replacement_by_the_seed():
    from holdfast.train import Members

    pictures = data.load("digits", "train")
    members = Members(by="bagging")
    drawn = members.pictures(pictures, 3)
    assert len(drawn) == len(pictures)
    assert len(drawn.place.unique()) / len(pictures) == pytest.approx(1 - np.exp(-1), abs=0.03)
    assert torch.equal(drawn.images, pictures.images[drawn.place])
    assert torch.equal(drawn.place, members.pictures(pictures, 3).place)
    assert not torch.equal(drawn.place, members.pictures(pictures, 4).place)


def test_a_snapshot_begins_where_the_one_before_ended(tmp_path):
    from holdfast.models import weights_sha256

    line = f"{TRAIN} --data digits --limit 100 --members 2 --members-by snapshots --out".replace("epochs 3", "epochs 2")
    plain(line, tmp_path / "a")
    about = json.loads((tmp_path / "a/member-1/train.json").read_text())
    first, _ = models.load(tmp_path / "a/member-0")
    assert weights_sha256(first) in json.dumps(about)
    assert about["options"]["schedule"] == "cosine"


def test_runs_are_joined_attacked_and_judged(run, folder, tmp_path):
    other = folder / "other"
    plain(f"{TRAIN} --data digits --seed 1 --out", other)
    mean = plain(f"ensemble {run} {other} --out", tmp_path / "mean")
    stacked = plain(f"ensemble {run} {other} --by stacking --data digits --out", tmp_path / "stacked")
    dropout = plain(f"ensemble {run} --by dropout --passes 4 --out", tmp_path / "dropout")
    assert [one["cost"] for one in (mean, stacked, dropout)] == [2, 2, 4]
    for name in ("mean", "stacked", "dropout"):
        line = f"evaluate --model {tmp_path / name} --data digits --limit 16 --eps 0.3 --attack pgd --set steps=4"
        found = plain(f"{line} --no-checks --no-report --out", tmp_path / f"eval-{name}")
        assert found["robust"]["k"] < found["clean"]["k"]
    line = f"ood --model {tmp_path}/dropout --data digits --limit 60 --against noise:uniform --no-report --out"
    found = plain(line, tmp_path / "ood")
    assert "mutual-information" in [one["score"] for one in found["scores"]]
    assert found["passes_a_picture"] == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("{run}", "--by mean with 1 run; allowed: two or more"),
        ("{run} {run} --by dropout", "allowed: one run"),
        ("{run} {run} --by stacking", "stacking without --data"),
        ("{run} {run} --data digits", "mean with --data"),
        ("{run} {run} --by median", "unknown way of joining"),
        ("{run} {run}", "the same run twice; allowed: each once"),
    ],
)
def test_what_cannot_be_joined_is_told(run, more, said, tmp_path):
    code, text = refused(f"ensemble {more.format(run=run)} --out {tmp_path / 'a'}")
    assert said in text
    assert code == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--members-by bagging", "--members-by bagging without --members"),
        ("--members 2 --members-by stacking --no-validation", "stacking without validation"),
        ("--members 2 --members-by snapshots", "a multiple of the cycles, such as 4"),
        ("--members 2 --members-by luck", "by='luck'"),
        ("--members 2 --log tensorboard", "--log tensorboard with --members"),
    ],
)
def test_members_that_cannot_be_trained_are_told(more, said, tmp_path):
    code, text = refused(f"{TRAIN} --data digits --limit 100 {more} --out {tmp_path / 'a'}")
    assert said in text
    assert code == 2
