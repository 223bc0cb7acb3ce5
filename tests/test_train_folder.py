"""The folder of a training run: what is in it, and that a kill loses at most the epoch in flight."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast import models, train
from holdfast.attacks import PGD
from holdfast.errors import ModelError, OptionError, RunError
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from trainings import Kill, digits, files, killing

OPTIONS = TrainOptions(epochs=4, batch=32, learning_rate=0.01)
ATTACK = {"adversary": Adversary(PGD(steps=2, step_size=0.5), Linf(eps=0.1))}
FINISHED = {"card.json", "metrics.jsonl", "model.safetensors", "timing.json", "train.json"}


pictures = digits("train", 100)
validation = digits("validation", 20)


def go(out, pictures, *, options=OPTIONS, net=None, adversary=None, **rest):
    recipe = Recipe(options=options, adversary=adversary)
    return train.train(card_for("cnn", pictures, net), pictures, recipe=recipe, out=out, **rest)


def killed(out, pictures, *, after=None, at=None, **rest):
    with pytest.raises(Kill):
        go(out, pictures, **killing(after=after, at=at), **rest)


def test_a_finished_folder_holds_the_model_and_how_it_was_made(tmp_path, pictures, validation):
    trained = go(tmp_path / "run", pictures, validation=validation, seed=3, command=["holdfast", "train"], **ATTACK)
    assert {path.name for path in trained.folder.iterdir()} == FINISHED
    model, card = models.load(trained.folder)
    x = validation.x()
    assert torch.equal(model(x), trained.model(x))
    assert card == trained.card
    assert card.training["recipe"]["options"]["epochs"] == 4
    assert card.training["recipe"]["adversary"]["threat"] == {
        "name": "linf",
        "eps": 0.1,
        "low": 0.0,
        "high": 1.0,
    }
    assert card.training["recipe"]["adversary"]["attack"]["steps"] == 2
    assert card.training["recipe"]["seed"] == 3
    assert card.training["data"]["sha256"] == pictures.sha256()
    assert card.training["scores"] == trained.history[-1].plain()
    assert card.training["scores"]["robust"]["n"] == 20
    about = json.loads((trained.folder / "train.json").read_text())
    assert about["provenance"]["command"] == ["holdfast", "train"]
    metrics = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    assert metrics == [epoch.plain() for epoch in trained.history]
    timing = json.loads((trained.folder / "timing.json").read_text())
    assert len(timing["starts"][0]["seconds"]) == 4


KILLS = {
    "in the first epoch": {"at": 40},
    "after an epoch": {"after": 2},
    "in a later epoch": {"at": 240},
    "after the last epoch": {"after": 4},
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, pictures, validation, kill):
    # An adversary costs time: one of the kills is enough for it.
    rest = {"validation": validation, "net": {"dropout": 0.3, "batch_norm": True}}
    rest |= ATTACK if kill == KILLS["in a later epoch"] else {}
    whole = go(tmp_path / "whole", pictures, **rest)
    killed(tmp_path / "killed", pictures, **kill, **rest)
    assert not (tmp_path / "killed" / "card.json").exists()
    resumed = go(tmp_path / "killed", pictures, resume=True, **rest)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert resumed.history == whole.history


def test_sgd_goes_on_with_its_momentum(tmp_path, pictures):
    options = replace(OPTIONS, optimiser="sgd", learning_rate=0.1)
    go(tmp_path / "whole", pictures, options=options)
    killed(tmp_path / "killed", pictures, options=options, after=2)
    go(tmp_path / "killed", pictures, options=options, resume=True)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_only_the_epochs_left_are_repeated(tmp_path, pictures):
    killed(tmp_path / "run", pictures, at=350)
    seen = []
    go(tmp_path / "run", pictures, resume=True, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [4]
    starts = json.loads((tmp_path / "run" / "timing.json").read_text())["starts"]
    assert [(start["resumed"], len(start["seconds"])) for start in starts] == [(False, 3), (True, 1)]


def test_a_finished_run_resumes_to_itself(tmp_path, pictures):
    first = go(tmp_path / "run", pictures)
    before = files(tmp_path / "run")
    again = go(tmp_path / "run", pictures, resume=True, on_epoch=lambda epoch: pytest.fail("trained again"))
    assert files(tmp_path / "run") == before
    assert again.history == first.history
    assert torch.equal(again.model(pictures.x()), first.model(pictures.x()))


def test_resume_begins_where_nothing_is(tmp_path, pictures):
    assert len(go(tmp_path / "run", pictures, resume=True).history) == 4


CHANGED = {
    "options": ({"options": replace(OPTIONS, epochs=5)}, "options.epochs was 4, now 5"),
    "seed": ({"seed": 1}, "seed was 0, now 1"),
    "model": ({"net": {"width": 2}}, "model.options.width was 1.0, now 2.0"),
    "adversary": (ATTACK, "adversary was None, now None; adversary.attack.name was None, now 'pgd'"),
}


@pytest.mark.parametrize(("change", "text"), CHANGED.values(), ids=CHANGED)
def test_changed_options_are_refused_and_shown(tmp_path, pictures, change, text):
    killed(tmp_path / "run", pictures, after=1)
    before = files(tmp_path / "run")
    with pytest.raises(RunError) as caught:
        go(tmp_path / "run", pictures, resume=True, **change)
    assert text.split("; ")[-1] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "run") == before


def test_changed_pictures_are_refused(tmp_path, pictures):
    killed(tmp_path / "run", pictures, after=1)
    with pytest.raises(RunError, match=r"data.n was 100, now 99; data.sha256 was"):
        go(tmp_path / "run", pictures.take(slice(0, 99)), resume=True)


def test_a_folder_in_use_is_refused(tmp_path, pictures):
    killed(tmp_path / "run", pictures, after=1)
    with pytest.raises(RunError, match=r"is not empty.*Pass --resume"):
        go(tmp_path / "run", pictures)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunError, match="other"):
            go(other, pictures, resume=resume)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_a_file_instead_of_a_folder_is_refused(tmp_path, pictures):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        go(tmp_path / "file", pictures)
    with pytest.raises(RunError, match="cannot write"):
        go(tmp_path / "file" / "run", pictures)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path, pictures):
    killed(tmp_path / "run", pictures, after=2)
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"damaged.*Delete it and run again with --resume"):
        go(tmp_path / "run", pictures, resume=True)
    path.unlink()
    assert len(go(tmp_path / "run", pictures, resume=True).history) == 4


def test_a_checkpoint_runs_no_code(tmp_path, pictures):
    killed(tmp_path / "run", pictures, after=1)

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code in a checkpoint ran",))

    torch.save({"model": Evil()}, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(RunError, match="damaged"):
        go(tmp_path / "run", pictures, resume=True)


def test_a_disk_that_is_full_keeps_the_epochs_so_far(tmp_path, pictures, monkeypatch):
    killed(tmp_path / "run", pictures, after=2)
    before = files(tmp_path / "run")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="No space left"):
        go(tmp_path / "run", pictures, resume=True)
    monkeypatch.undo()
    assert files(tmp_path / "run") == before
    assert len(go(tmp_path / "run", pictures, resume=True).history) == 4


def test_cards_are_checked_before_the_folder_is_made(tmp_path, pictures):
    with pytest.raises(OptionError, match="Did you mean"):
        train.train(card_for("cnnn", pictures), pictures, out=tmp_path / "run")
    with pytest.raises(ModelError):
        train.train(replace(card_for("cnn", pictures), classes=("a", "b")), pictures, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
