"""The page of training runs: it says what the files say, of finished runs, killed ones, and several side by side."""

import json
import re
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from holdfast import report, train
from holdfast.attacks import PGD
from holdfast.augment import Crop, Cutout, Mixup
from holdfast.errors import OptionError, RunError
from holdfast.evaluate import Rate
from holdfast.report.progress import Line, progress
from holdfast.report.scale import fitting, percent
from holdfast.report.training import table
from holdfast.report.training_run import read_one
from holdfast.report.training_words import optimiser, schedule
from holdfast.threats import L2, Linf
from holdfast.train import (
    AWP,
    NFGSM,
    TRADES,
    Adversary,
    Count,
    CrossEntropy,
    Epoch,
    Recipe,
    TrainOptions,
    card_for,
    read_recipe,
    recipe_of,
    shipped,
)
from holdfast.train.again import recipe_tables, toml
from holdfast.train.history import lines
from holdfast.train.penalties import Consistency
from report_fixtures import Fake, write_run
from test_report import Outline
from trainings import Kill, digits, killing

OPTIONS = TrainOptions(epochs=3, batch=32, learning_rate=0.01, watch="robust")
ADVERSARY = Adversary(PGD(steps=2, step_size=0.5), Linf(eps=8 / 255))
HARDENED = Recipe(options=OPTIONS, adversary=ADVERSARY, penalties=(Consistency(weight=2.0),), augment=(Crop(pad=1),))
PLAIN = Recipe(options=replace(OPTIONS, watch="none", epochs=2))


pictures = digits("train", 100)
validation = digits("validation", 30)


def go(out, pictures, recipe=HARDENED, **rest):
    model = card_for("cnn", pictures, {"width": 0.5})
    command = ["holdfast", "train", "--out", "a b"]
    return train.train(model, pictures, recipe=recipe, out=out, command=command, **rest).folder


def killed(out, pictures, after, **rest):
    with pytest.raises(Kill):
        go(out, pictures, **killing(after=after), **rest)
    return out


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, pictures, validation):
    return go(tmp_path_factory.mktemp("runs") / "hardened", pictures, validation=validation, seed=3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, pictures, validation):
    return go(tmp_path_factory.mktemp("runs") / "plain", pictures, PLAIN, validation=validation)


def copied(folder, out):
    out.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != "report.html":
            (out / path.name).write_bytes(path.read_bytes())
    return out


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def shown(count):
    return f"{100 * count['k'] / count['n']:.1f} % {count['k']} of {count['n']}"


def cells(html, section, label):
    """The texts of the cells of the row that begins with `label`."""
    part = html[html.index(f'<section id="{section}"') :]
    row = re.search(rf"<tr[^>]*><th scope=\"row\">{label}(?: .*?)?</th>(.*?)</tr>", part, re.DOTALL)[1]
    return [" ".join(re.sub("<[^>]*>", " ", cell).replace("\xa0", " ").split()) for cell in row.split("</td>")[:-1]]


def test_says_what_the_files_say(hardened):
    html = report.render([hardened])
    outline, told = Outline(html), metrics(hardened)
    best = max(told, key=lambda epoch: epoch["robust"]["k"])
    for epoch in told:
        rates = [shown(epoch[name]) for name in ("train", "validation", "robust")]
        assert cells(html, "epochs", epoch["number"])[:4] == [f"{epoch['loss']:.4g}", *rates]
    assert html.count('<span class="badge">kept</span>') == 1
    assert f"{best['number']} kept" in outline.text
    for name in ("validation", "robust"):
        k, n = best[name]["k"], best[name]["n"]
        rate = Rate(k, n)
        assert f"{100 * k / n:.1f} % {k} of {n} · {100 * rate.low:.1f}–{100 * rate.high:.1f} %" in outline.text
    assert f"those of epoch {best['number']}, the best of them" in outline.text
    assert "cnn, trained on what pgd makes of 100 pictures of digits, L∞ within 8/255" in outline.text
    assert "steps=10, stop_at_cycle=no), L∞ within 8/255, on the first 30 validation pictures." in outline.text
    assert "also chose the epoch, so it flatters a little" in outline.text
    assert "holdfast train --out 'a b'" in outline.text
    for name, key in (("card.json", "weights_file_sha256"), ("train.json", "data")):
        value = json.loads((hardened / name).read_text())[key]
        assert (value if isinstance(value, str) else value["sha256"]) in outline.text


def test_cost_is_counted_from_the_files(hardened):
    html, told = report.render([hardened]), metrics(hardened)
    ahead, back = (sum(epoch["passes"][place] for epoch in told) / len(told) for place in (0, 1))
    assert (ahead, back) == (5, 5)  # two of the attack, the loss, and two views; all with gradients
    assert cells(html, "cost", "Forward passes a picture and epoch") == ["5"]
    assert cells(html, "cost", "Passes in all, backward") == [str(5 * 100 * 3)]
    timing = json.loads((hardened / "timing.json").read_text())
    middle = sorted(timing["starts"][0]["seconds"])[1]
    assert float(cells(html, "cost", "Seconds an epoch, the median")[0]) == pytest.approx(middle, rel=1e-3)
    assert float(cells(html, "cost", "Pictures a second")[0]) == pytest.approx(100 / middle, rel=1e-3)
    assert cells(html, "cost", "Interruptions") == ["none"]
    assert cells(html, "cost", "Threads") == [str(timing["starts"][0]["threads"])]


def test_the_page_is_whole_and_needs_nothing_from_outside(hardened, plain):
    for runs in ([hardened], [hardened, plain]):
        html = report.render(runs)
        outline = Outline(html)
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert not {"script", "link", "iframe"} & {tag for tag, _ in outline.tags}
        assert "http" not in html.replace("http-equiv", "")
        assert [tag for tag, _ in outline.tags].count("caption") == html.count("<table")
        assert all(a["href"][1:] in ids for tag, a in outline.tags if tag == "a")
        assert html == report.render(runs)


def test_curves_go_through_the_values(hardened):
    html, told = report.render([hardened]), metrics(hardened)
    svg = ET.fromstring(re.search(r'<svg class="figure"[^>]*aria-label="Accuracy\..*?</svg>', html, re.DOTALL)[0])
    drawn = [one.get("points").split() for one in svg.iter("polyline")]
    for name, places in zip(("validation", "robust", "train"), drawn, strict=True):
        heights = [(248 - float(place.split(",")[1])) / (248 - 24) for place in places]
        assert heights == pytest.approx([epoch[name]["k"] / epoch[name]["n"] for epoch in told], abs=1e-3)
    best = max(told, key=lambda epoch: epoch["robust"]["k"])["number"]
    rings = [float(one.get("cx")) for one in svg.iter("circle") if one.get("class") == "ring"]
    assert rings == pytest.approx([52 + (480 - 52 - 22) * (best - 1) / 2] * 3, abs=0.06)
    assert "Divergence" in Outline(html).text


def test_a_killed_run_is_told_so_far(tmp_path, pictures, validation):
    folder = killed(tmp_path / "run", pictures, 2, validation=validation)
    outline = Outline(report.render([folder]))
    assert "Not finished: 2 of 3 epochs done." in outline.text
    assert "Go on with: holdfast train --out 'a b' --resume" in outline.text
    assert shown(metrics(folder)[1]["validation"]) in outline.text
    go(folder, pictures, validation=validation, resume=True)
    html = report.render([folder])
    assert "Not finished" not in html
    assert cells(html, "cost", "Interruptions") == ["resumed in epoch 3"]
    assert html.count('class="cut"') == 4  # accuracies, loss, learning rate, divergence
    # The epoch after the interruption may be a part of one: it says nothing about the speed.
    whole = json.loads((folder / "timing.json").read_text())["starts"][0]["seconds"]
    assert len(whole) == 2
    assert float(cells(html, "cost", "Seconds an epoch, the median")[0]) == pytest.approx(sum(whole) / 2, rel=1e-3)


def test_a_run_killed_in_its_first_epoch_has_a_page(tmp_path, pictures):
    def progress(done, total):
        raise Kill

    with pytest.raises(Kill):
        go(tmp_path / "run", pictures, PLAIN, progress=progress)
    text = Outline(report.render([tmp_path / "run"])).text
    assert "No epoch of 2 is finished yet." in text
    assert "No epoch is finished yet." in text
    report.render([tmp_path / "run", tmp_path / "run"])


def test_without_validation_nothing_is_claimed(tmp_path, pictures):
    folder = go(tmp_path / "run", pictures, replace(PLAIN, options=replace(PLAIN.options, epochs=1)))
    text = Outline(report.render([folder])).text
    assert "No pictures were held out, so nothing is known of how it does on others." in text
    assert "no pictures were held out" in text
    assert "Its one epoch is done." in text


def test_two_side_by_side(hardened, plain):
    html = report.render([plain, hardened])
    outline = Outline(html)
    assert "Training of plain and hardened on digits" in outline.text
    assert "cannot be compared" not in outline.text  # only one of them was attacked
    rates = [Rate(*train.Epoch.read(one).validation) for one in (metrics(plain)[-1], best_robust(hardened))]
    assert f"{100 * (rates[1].rate - rates[0].rate):.1f} points".lstrip("-") in outline.text
    figures = [a["aria-label"] for tag, a in outline.tags if tag == "svg" and a.get("class") == "figure"]
    kinds = ["validation", "under attack", "training"]
    titles = [*(f"Accuracy, {kind}" for kind in kinds), "Loss", "Learning rate", "Divergence"]
    assert [label.split(".")[0] for label in figures] == titles
    assert figures[0].count(" at epoch 1,") == 2
    assert html.count("[adversary.threat]") == 1


def test_the_dashed_line_is_the_one_that_is_asked_for():
    points = ((1, 0.5), (2, 0.25))
    svg = progress([Line("a", 0, points), Line("b", 1, points, dashed=True)], percent(), title="t", guide=False)
    first, second = re.findall(r'<g class="(r\d)"><polyline class="line"(.*?) points', svg)
    assert (first, second) == (("r0", ""), ("r1", ' stroke-dasharray="7 6"'))


def test_rows_of_several_recipes_stand_where_the_fullest_one_has_them():
    short = {"Loss": "a", "Seed": "0"}
    rows = table([short, {"Loss": "a", "Threat": "L2", "Seed": "1"}, {**short, "Mixup": "b"}])
    assert [row.name for row in rows] == ["Loss", "Threat", "Seed", "Mixup"]
    assert [row.values for row in rows][1] == ("–", "L2", "–")
    assert [row.differs for row in rows] == [False, True, True, True]


def best_robust(folder):
    return max(metrics(folder), key=lambda epoch: epoch["robust"]["k"])


def test_says_what_cannot_be_compared(tmp_path, hardened, pictures, validation):
    other = replace(HARDENED, adversary=Adversary(PGD(steps=2), L2(eps=0.5)))
    folder = go(tmp_path / "l2", pictures, other, validation=validation)
    text = Outline(report.render([hardened, folder])).text
    assert "What is withstood differs: hardened: pgd(" in text
    assert "L2 within 0.5, 30 pictures." in text
    assert "not comparable" in text
    fewer = go(tmp_path / "fewer", pictures, PLAIN, validation=validation.take(slice(0, 20)))
    text = Outline(report.render([hardened, fewer])).text
    assert "The validation pictures differ: hardened: 30 pictures of digits" in text
    assert " points" not in text


def test_trainings_and_evaluations_share_no_page(tmp_path, plain):
    evaluated = write_run(tmp_path / "evaluated", Fake())
    for runs in ([plain, evaluated], [evaluated, plain]):
        with pytest.raises(RunError, match=r"plain.* is a training run and .*evaluated.* is none; allowed"):
            report.render(runs)


DAMAGES = {
    "half a line": lambda text: text[:-20],
    "no JSON": lambda text: text.replace("{", "[", 1),
    "a key is gone": lambda text: text.replace('"loss"', '"lose"', 1),
    "no number": lambda text: re.sub(r'"loss": [\d.e-]+', '"loss": "low"', text, count=1),
    "not finite": lambda text: re.sub(r'"loss": [\d.e-]+', '"loss": NaN', text, count=1),
    "more right than there are": lambda text: re.sub(r'"k": \d+', '"k": 1000', text, count=1),
    "an epoch is gone": lambda text: text.split("\n", 1)[1],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_line_is_named(tmp_path, plain, damage):
    folder = copied(plain, tmp_path / "run")
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(damage(text))
    line = 2 if damage is DAMAGES["half a line"] else 1
    with pytest.raises(RunError, match=rf"metrics.jsonl' is damaged in line {line} .*Bring the file back") as caught:
        report.render([folder])
    assert "\n" not in str(caught.value)


def test_other_damage_is_an_error_too(tmp_path, plain):
    folder = copied(plain, tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"is finished, but metrics.jsonl tells of no epoch"):
        report.render([folder])
    folder = copied(plain, tmp_path / "timing")
    (folder / "timing.json").write_text('{"starts": [{"seconds": "x"}]}')
    with pytest.raises(RunError, match=r"timing.json' is damaged .*only times are lost"):
        report.render([folder])
    (folder / "timing.json").unlink()
    assert "Pictures a second" not in report.render([folder])
    about = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({**about, "format": 9}))
    with pytest.raises(RunError, match="has format 9; this version reads format 1"):
        report.render([folder])
    (folder / "train.json").write_text(json.dumps({name: value for name, value in about.items() if name != "loss"}))
    with pytest.raises(RunError, match="lacks loss"):
        report.render([folder])
    (folder / "train.json").write_text(json.dumps({**about, "options": {**about["options"], "new": 1}}))
    with pytest.raises(RunError, match=r"new.*Make the report with the version that trained"):
        report.render([folder])


def test_notes_of_the_card_are_shown_and_a_card_of_another_run_is_noticed(tmp_path, plain):
    folder = copied(plain, tmp_path / "run")
    card = json.loads((folder / "card.json").read_text())
    card["training"]["notes"] = ["epoch 2: <b>it overfits</b> catastrophically"]
    (folder / "card.json").write_text(json.dumps(card))
    html = report.render([folder])
    assert "Noted while training. Epoch 2: <b>it overfits</b> catastrophically." in Outline(html).text
    assert "Card and metrics" not in html
    card["training"]["scores"]["validation"]["k"] += 1
    (folder / "card.json").write_text(json.dumps(card))
    text = Outline(report.render([folder])).text
    right = metrics(folder)[-1]["validation"]["k"]
    assert "Card and metrics tell of different trainings" in text
    assert f"validation: card {{'k': {right + 1}, 'n': 30}}, metrics {{'k': {right}, 'n': 30}}" in text


IDLE = TrainOptions(epochs=1, batch=50, momentum=0.3, mix=0.5)
RECIPES = {
    "usual": Recipe(),
    "hardened": HARDENED,
    "every part": Recipe(
        options=TrainOptions(
            epochs=2, optimiser="sgd", momentum=0.5, schedule="step", milestones=(0.25, 0.5), clip=1.0
        ),
        loss=CrossEntropy(smoothing=0.1),
        augment=(Cutout(), Crop(pad=2)),
        adversary=Adversary(PGD(steps=3, random_start=False), L2(eps=0.3)),
        penalties=(Consistency(),),
    ),
    "several threats": Recipe(
        adversary=Adversary(PGD(steps=1, step_size=1.25), Linf(eps=0.1), TRADES(beta=3), further=(L2(eps=1.0),)),
        awp=AWP(gamma=0.01),
    ),
    "beyond the threat": Recipe(adversary=Adversary(NFGSM(noise=1.5), Linf(eps=0.1))),
    "mixed": Recipe(mixup=Mixup()),
    "mixed otherwise": Recipe(mixup=Mixup(alpha=0.3, form="usual")),
    "idle options": Recipe(options=IDLE),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_recipe_reads_back_as_what_was_trained(tmp_path, pictures, recipe):
    options = replace(recipe.options, epochs=1, batch=50, watch="none")
    recipe = replace(recipe, options=options)
    few = pictures.take(slice(0, 50))
    model = card_for("cnn", few, {"width": 0.5}, normalize=False)
    folder = train.train(model, few, recipe=recipe, seed=5, out=tmp_path / "run").folder
    about = json.loads((folder / "train.json").read_text())
    planned = read_recipe(recipe_of(about))
    # Options that do nothing beside the others are left out.
    deciding = replace(recipe, options=replace(options, momentum=0.9, mix=1.0)) if recipe.options == IDLE else recipe
    assert planned.recipe == deciding
    assert (planned.seed, planned.data.name, planned.data.limit, planned.data.validation) == (5, "digits", 50, False)
    assert (planned.model.name, dict(planned.model.options), planned.model.normalize) == ("cnn", {"width": 0.5}, False)
    again = train.train(model, few, recipe=planned.recipe, seed=planned.seed, out=tmp_path / "again").folder
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_recipe_that_cannot_be_written_says_why(hardened):
    about = json.loads((hardened / "train.json").read_text())
    with pytest.raises(OptionError, match=r"began with given weights .*by hand"):
        recipe_of({**about, "start": "abc"})
    with pytest.raises(OptionError, match=r"cannot be written as a recipe: .*unknown penalty 'mine'"):
        recipe_of({**about, "penalties": [{"name": "mine"}]})
    with pytest.raises(OptionError, match="reads as something else"):
        recipe_of({**about, "adversary": {**about["adversary"], "further": [{"name": "l2", "eps": 1.0}]}})


def test_a_users_own_part_is_told_on_the_page(tmp_path, plain):
    folder = copied(plain, tmp_path / "run")
    about = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({**about, "loss": {"name": "mine", "weight": 2.0}}))
    text = Outline(report.render([folder])).text
    assert "The run cannot be written as a recipe: unknown loss 'mine'" in text
    assert "mine(weight=2)" in text


def test_toml_has_tables_in_lists_and_no_null():
    tables = {"seed": 0, "a": {"b": {"c": [1.5, 2]}, "d": None}, "e": [{"n": True}, {"n": 'a "b"'}], "f": {}}
    text = toml(tables)
    assert text.splitlines()[0] == "seed = 0"
    assert tomllib.loads(text) == {**tables, "a": {"b": {"c": [1.5, 2]}, "d": "none"}}


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_written_as_short_as_they_are(name):
    planned = read_recipe(shipped()[name])
    model = {"architecture": planned.model.name, "options": {}, "mean": [0.0], "shape": [1, 28, 28]}
    noted = {"seed": 0, "data": {"name": planned.data.name, "n": 9}, "validation": {}, "model": model}
    about = json.loads(json.dumps(planned.recipe.plain())) | noted
    about["validation"] = about["data"]
    tables = recipe_tables(about)
    own = tomllib.loads(shipped()[name])
    assert tables["data"].pop("limit") == 9
    assert tables["data"]["name"] == own["data"]["name"]
    assert set(tables.get("train", {})) <= set(own.get("train", {}))
    if "adversary" in own:
        assert set(tables["adversary"]["attack"]) <= set(own["adversary"]["attack"])


def test_scales():
    scale = fitting([0.2, 1.7])
    assert (scale.low, scale.high, [text for _, text in scale.ticks]) == (0.0, 2.0, ["0", "0.5", "1", "1.5", "2"])
    assert [scale.share(value) for value in (0.0, 1.0, 2.0, 9.0)] == [0.0, 0.5, 1.0, 1.0]
    small = fitting([0.003, 2e-5])
    assert small.unit == " (× 10⁻³)"
    assert [text for _, text in small.ticks][-1] == "3"
    assert fitting([-1.0, 1.0]).share(0.0) == 0.5
    decades = fitting([0.01, 10.0], decades=True)
    assert decades.share(1.0) == pytest.approx(2 / 3)
    assert [text for _, text in decades.ticks] == ["0.01", "0.1", "1", "10"]
    assert fitting([0.0, 10.0], decades=True).logarithmic is False
    for values in ([], [0.0], [5.0], [1e-12], [12345.0, 1.0]):
        found = fitting(values)
        assert found.low <= min([0.0, *values]) <= max([0.0, *values]) <= found.high
        assert len(found.ticks) <= 7


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 31, 250])
def test_figures_hold_any_number_of_epochs(epochs):
    points = tuple((epoch, epoch / epochs) for epoch in range(1, epochs + 1))
    svg = ET.fromstring(progress([Line("a", 0, points, kept=epochs)], percent(), title="t", guide=True))
    named = [one.text for one in svg.iter("text") if one.get("class") == "tick" and "%" not in one.text]
    assert named[-1] == str(epochs)
    assert len(named) <= 10
    assert len([one for one in svg.iter("circle") if one.get("class") == "mark"]) == (epochs if epochs <= 30 else 0)
    assert "1 at epoch" in svg.get("aria-label")


def test_words_of_a_schedule():
    said = schedule(TrainOptions(schedule="step", rise=0.1, milestones=(0.5, 0.9), optimiser="sgd"))
    assert said.replace("\xa0", " ") == (
        "step: grows to 0.05 over the first 10 % of the training, then is multiplied by 0.1 at 50 % and 90 %"
    )
    assert schedule(TrainOptions(schedule="constant")) == "constant: begins at 0.003, then stays there"
    assert "momentum" not in optimiser(TrainOptions())
    assert optimiser(TrainOptions(optimiser="sgd", clip=1.0, decay="weights")) == (
        "sgd, weight decay 0.0005 on all but biases and norms, Nesterov momentum 0.9, "
        "gradients clipped at an L2 norm of 1"
    )


def test_the_best_epoch_so_far_is_the_kept_one(tmp_path, hardened):
    folder = copied(hardened, tmp_path / "run")
    (folder / "card.json").unlink()
    found = [Epoch(n, 1.0, Count(1, 2), Count(5, 9), Count(k, 9)) for n, k in enumerate((3, 6, 4), start=1)]
    (folder / "metrics.jsonl").write_bytes(lines(found))
    assert read_one(folder).kept.number == 2
