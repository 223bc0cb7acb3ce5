"""The page in a browser: fits a phone, follows the dark, prints light, can be read, logs nothing."""

import io
import json
import shutil

import pytest
from PIL import Image

from command_line import done
from holdfast import data, report, train
from holdfast.attacks import PGD
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from report_fixtures import Fake, write_run

pytestmark = pytest.mark.browser

# Every text with too little contrast: its colour against all backgrounds that lie behind it, laid over each other.
FAINT = """() => {
  const brush = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
    .getContext('2d', {willReadFrequently: true});
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const mixed = colours => {
    brush.clearRect(0, 0, 1, 1);
    for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
    return light(brush.getImageData(0, 0, 1, 1).data);
  };
  const faint = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const ink = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [mixed(behind), mixed([...behind, ink])];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.textContent.trim().slice(0, 30)}`);
  }
  return faint;
}"""


SMALL = ("suspicion", "calibration", "shift", "detection")


def trainings(root):
    """A training with notes about it, and one that is not finished."""
    pictures, validation = data.load("digits", "train", limit=60), data.load("digits", "validation", limit=20)
    options = TrainOptions(epochs=12, batch=30, watch="robust", schedule="step")
    recipe = Recipe(options=options, adversary=Adversary(PGD(steps=1), Linf(eps=8 / 255)))
    command = ["holdfast", "train", "--out", "a/folder/with/a/name/that/is/long/and/has/no/space/" + 60 * "x"]
    path, card = root / "trained", card_for("linear", pictures)
    train.train(card, pictures, recipe=recipe, validation=validation, out=path, command=command)
    shutil.copytree(path, root / "unfinished")
    (root / "unfinished" / "card.json").unlink()
    told = json.loads((path / "card.json").read_text())
    told["training"]["notes"] = ["epoch 3: right answers under attack fell from 50 % to 0 %: it overfits"]
    (path / "card.json").write_text(json.dumps(told))
    return path, root / "unfinished"


def small_pages(root):
    """The folders of what is told of a small model: scores judged by noise, calibration, shift, and a detector."""
    pictures = data.load("digits", "train", limit=100)
    card = card_for("mlp", pictures, {"hidden": (16,)})
    train.train(card, pictures, recipe=Recipe(options=TrainOptions(epochs=1, batch=50)), out=root / "mlp")
    lines = {
        "suspicion": "ood --limit 40 --against noise:uniform --no-report",
        "calibration": "calibrate --limit 40 --method temperature --method histogram",
        "shift": "evaluate -n 60 --corruptions fog,contrast --severity 1,3 --label-shift dirichlet:1.0 --no-report",
        "detection": "detect evaluate -n 12 --detector energy --eps 0.4 --attack pgd --no-report",
    }
    for name, line in lines.items():
        done(f"{line} --model {root / 'mlp'} --data digits --quiet --out {root / name}")
    return {name: report.write([root / name]) for name in lines}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    names = ("T-shirt", "an outrageouslylongclassnamewithoutanyspaceinit", "<b>bold</b>", "Coat", "Bag")
    one = write_run(
        root / "ordinary", Fake(classes=names, model="some/very/long/path/to/a/model_file.py:make_the_model")
    )
    two = write_run(root / "hardened", Fake(classes=names, seed=2, strength=12 / 255, believe=False))
    other = write_run(root / "other", Fake(n=30, shape=(3, 16, 16), threat="l2"))
    many = write_run(root / "many", Fake(n=150, classes=tuple(f"kind {i}" for i in range(100))))
    trained, unfinished = trainings(root)
    return {
        **small_pages(root),
        "trained": report.write([trained]),
        "trainings": report.write([trained, unfinished], root / "trainings.html"),
        "one": report.write([one]),
        "two": report.write([one, two]),
        "three": report.write([one, two, other], root / "three.html"),
        "many": report.write([many]),
    }


@pytest.mark.parametrize("name", ["one", "two", "three", "many", "trained", "trainings", *SMALL])
def test_fits_a_phone(page, pages, name):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("getComputedStyle(document.documentElement).overflowX") == "visible"


# Captions of wide tables that cannot be read without scrolling: how far they reach past what is seen.
CUT = """() => [...document.querySelectorAll('caption > span')].filter(span => span.checkVisibility())
  .map(span => [span.textContent.slice(0, 30),
    Math.round(span.getBoundingClientRect().right - span.closest('.scroll, .card').getBoundingClientRect().right)])
  .filter(([_, past]) => past > 0)"""


@pytest.mark.parametrize("width", [360, 420, 600, 761, 1300])
def test_captions_are_seen_whole(page, pages, width):
    page.set_viewport_size({"width": width, "height": 844})
    cut = {}
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        cut[name] = page.evaluate(CUT)
    assert not any(cut.values()), cut


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_can_be_read_in_the_light_and_in_the_dark(page, pages, scheme):
    page.emulate_media(color_scheme=scheme)
    for name in ("two", "three", "trained", "trainings", *SMALL):
        page.goto(pages[name].as_uri())
        assert page.evaluate(FAINT) == []


def test_dark_is_dark_and_print_is_light(page, pages):
    page.goto(pages["two"].as_uri())
    seen = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen[scheme] = Image.open(io.BytesIO(page.screenshot())).convert("L")
    assert seen["light"].getpixel((2, 2)) > 230
    assert seen["dark"].getpixel((2, 2)) < 40
    assert len(seen["light"].getcolors(256)) > 50  # something is drawn
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(FAINT) == []
    assert Image.open(io.BytesIO(page.screenshot())).convert("L").getpixel((2, 2)) > 230
    hidden = "[...document.querySelectorAll('details table')].filter(one => !one.checkVisibility()).length"
    assert page.evaluate(hidden) == 0


def test_pictures_are_drawn_sharp(page, pages):
    page.goto(pages["two"].as_uri())
    broken = "[...document.images].filter(one => !one.complete || !one.naturalWidth).length"
    assert page.evaluate("document.images.length") > 20
    assert page.evaluate(broken) == 0
    assert page.evaluate("getComputedStyle(document.images[0]).imageRendering") == "pixelated"


def test_sections_can_be_reached(page, pages):
    page.goto(pages["one"].as_uri())
    page.click("nav a[href='#checks']")
    assert page.evaluate("location.hash") == "#checks"
    assert page.locator("#checks").is_visible()
