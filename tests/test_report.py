"""The page as text: what it says, that it is whole, safe, self-contained and repeatable."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from holdfast import report
from holdfast.errors import RunError
from report_fixtures import Fake, records, write_run

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "col"}
FAKES = {
    "default": Fake(),
    "colour": Fake(n=40, shape=(3, 12, 12), float_x=True),
    "two channels": Fake(n=20, shape=(2, 8, 8)),
    "one radius": Fake(eps=(0.1,), eps_text=("0.1",), strength=0.1),
    "euclidean": Fake(threat="l2", eps=(0.5, 1.0), eps_text=("0.5", "1"), strength=0.7),
    "nothing broken": Fake(strength=9.0, wrong=0.0),
    "all broken": Fake(strength=1e-9, wrong=0.0),
    "all wrong": Fake(wrong=1.0),
    "one picture": Fake(n=1),
    "two classes": Fake(n=12, classes=("no", "yes")),
    "hundred classes": Fake(n=150, classes=tuple(f"kind {i}" for i in range(100))),
    "not believed": Fake(believe=False),
}


class Outline(HTMLParser):
    """Refuses unbalanced tags; keeps tags with attributes and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.said = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.said).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), f"{tag} repeats an attribute"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "title" not in self.open:
            self.said.append(data)


@pytest.fixture
def make(tmp_path):
    return lambda name="run", fake=None: write_run(tmp_path / name, fake)


@pytest.fixture(scope="module", params=FAKES.values(), ids=FAKES.keys())
def rendered(request, tmp_path_factory):
    """(what the run is like, its folder, its page), written once for all tests that only look."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", request.param)
    return request.param, folder, report.render([folder])


def change(folder, edit, file="summary.json"):
    """Edit a JSON file of a run in place."""
    value = json.loads((folder / file).read_text())
    edit(value)
    (folder / file).write_text(json.dumps(value))


def test_is_whole_and_says_the_counts(rendered):
    fake, folder, html = rendered
    outline = Outline(html)
    told = json.loads((folder / "summary.json").read_text())
    rates = [told["clean"], told["robust"], *(point["robust"] for point in told["curve"])]
    for rate in rates + [point["robust_8bit"] for point in told["curve"]]:
        assert f"{rate['k']} of {rate['n']}" in outline.text
    for rate in rates:
        assert f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f} %" in outline.text
    alone = [point["own"] for point in told["curve"]]
    assert ("This radius alone" in outline.text) == ([rate["k"] for rate in alone] != [rate["k"] for rate in rates[2:]])
    for row in told["per_class"]:
        assert f"clean {row['clean']}, robust {row['robust']} of {row['n']}" in outline.text
    for check in told["checks"]:
        assert check["title"] in outline.text
        assert check["evidence"].rstrip(".") in outline.text
    verdict = "Believe these numbers" if fake.believe else "Do not believe these numbers"
    assert f"{verdict} , because {told['believe']['because']}." in outline.text
    assert len(html) < 2e6


def test_is_accessible_and_needs_nothing_from_outside(rendered):
    html = rendered[2]
    outline = Outline(html)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        assert tag not in {"script", "link", "iframe", "object", "form", "base"}
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert attributes.get("href", "#")[0] == "#"
        if "href" in attributes:
            assert attributes["href"][1:] in ids
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes["aria-hidden"] == "true"
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("table") == tags.count("caption")
    assert tags.count("main") == tags.count("h1") == 1
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html
    assert "@import" not in html


def test_says_when_a_larger_radius_alone_breaks_less(make):
    folder = make()
    told = json.loads((folder / "summary.json").read_text())["curve"][1]
    assert told["own"]["k"] == told["robust"]["k"] + 1
    text = Outline(report.render([folder])).text
    assert "This radius alone" in text
    assert f"{told['own']['k']} of {told['own']['n']}" in text


def test_side_by_side(make):
    one, two = make("ordinary"), make("hardened", Fake(seed=1, strength=12 / 255))
    outline = Outline(report.render([one, two]))
    assert "ordinary and hardened on synthetic" in outline.text
    assert "cannot be compared" not in outline.text
    rates = [json.loads((folder / "summary.json").read_text()) for folder in (one, two)]
    difference = 100 * (rates[1]["robust"]["rate"] - rates[0]["robust"]["rate"])
    assert f"+{difference:.1f} points" in outline.text
    for told in rates:
        for point in told["curve"]:
            assert f"{point['robust']['k']} of {point['robust']['n']}" in outline.text
    # One figure with both curves, not one each.
    assert sum("Robust accuracy against" in a.get("aria-label", "") for _, a in outline.tags) == 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Fake(n=61), "The pictures differ: a: 60 pictures of synthetic"),
        (Fake(eps=(0.1,), eps_text=("0.1",)), "differ: a: L∞ within 2/255, 4/255, 8/255; b: L∞ within 0.1."),
        (Fake(threat="l2"), "The threats differ"),
        (Fake(attack_steps=10), "The attacks differ, and a weaker attack makes a model look stronger: a: PGD(steps=40"),
    ],
)  # fmt: skip
def test_says_what_cannot_be_compared(make, other, said):
    outline = Outline(report.render([make("a"), make("b", other)]))
    assert "These runs cannot be compared figure by figure." in outline.text
    assert said in outline.text
    assert "points" not in outline.text.replace("straight lines between the points", "")
    norms = {"linf", other.threat}
    assert sum("Robust accuracy against" in a.get("aria-label", "") for _, a in outline.tags) == len(norms)


def test_radii_of_different_norms_share_no_row(make):
    shared = {"eps": (0.5,), "eps_text": ("0.5",), "strength": 0.4}
    outline = Outline(report.render([make("a", Fake(**shared)), make("b", Fake(threat="l2", **shared))]))
    assert "0.5 (L∞)" in outline.text
    assert "0.5 (L2)" in outline.text
    assert outline.text.count("not tried") == 2


def test_same_folder_same_bytes(make):
    folders = [make("a"), make("b", Fake(seed=1))]
    assert report.render(folders) == report.render(folders)
    again = report.write(folders[:1])
    assert again.read_bytes() == report.write(folders[:1]).read_bytes()


def test_single_page_does_not_depend_on_where_the_folder_lies(make):
    assert report.render([make("a")]) == report.render([make("b")])


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b 'c'"])
def test_what_users_name_is_escaped(make, text):
    fake = Fake(classes=(text, "b", "c"), model=text, data=text, skipped=(text,))
    folder = make(fake=fake)
    change(folder, lambda told: told["checks"][0].update(evidence=text, title=text, advice=text, verdict="warn"))
    change(folder, lambda told: told["believe"].update(because=text))
    change(folder, lambda run: run["provenance"].update(command=[text], host=text), "run.json")
    for runs in ([folder], [folder, folder]):
        html = report.render(runs)
        outline = Outline(html)
        assert not {"script"} & {tag for tag, _ in outline.tags}
        assert not any("onerror" in attributes for _, attributes in outline.tags)
        assert " ".join(text.split()) in outline.text
        assert "alert(1)</script>" not in html


def test_summary_that_the_records_contradict_is_not_believed(make):
    folder = make()
    change(folder, lambda told: told["clean"].update(k=told["clean"]["k"] + 1))
    outline = Outline(report.render([folder]))
    right = int((records(Fake())["label"] == records(Fake())["prediction"]).sum())
    assert "Do not believe these numbers , because its summary and its records disagree" in outline.text
    assert f"right before the attack: summary {right + 1}, records {right}" in outline.text


@pytest.mark.parametrize("place", range(3))
def test_curve_that_the_records_contradict_is_not_believed(make, place):
    folder = make()
    change(folder, lambda told: told["curve"][place]["robust"].update(k=0))
    assert f"robust at {Fake().eps_text[place]}: summary 0" in Outline(report.render([folder])).text


def test_optional_parts_may_be_missing(make):
    folder = make()
    (folder / "timing.json").unlink()
    (folder / "checks.json").unlink()
    (folder / "records.csv").unlink()

    def strip(told):
        for key in ("per_class", "confusion", "passes", "check_passes", "checks"):
            del told[key]
        told["model"]["card"] = None
        for point in told["curve"]:
            point.update(size=None)
            del point["robust_8bit"], point["own"]

    change(folder, strip)
    change(folder, lambda run: [run.pop(key) for key in ("options", "provenance", "choices")], "run.json")
    for runs in ([folder], [folder, folder]):
        outline = Outline(report.render(runs))
        assert "This run has no figures for single classes." in outline.text
        assert "made from Python: no command was noted" in outline.text


def test_without_shards_there_are_no_pictures_but_figures(make):
    folder = make()
    for shard in (folder / "shards").iterdir():
        shard.unlink()
    outline = Outline(report.render([folder]))
    assert "no picture can be shown and no count was made again" in outline.text
    assert not any(tag == "img" for tag, _ in outline.tags)
    assert "The records give the same counts" not in outline.text
    both = Outline(report.render([folder, make("other")]))
    assert any(tag == "img" for tag, _ in both.tags)


def test_more_outputs_than_classes(make):
    folder = make(fake=Fake(n=30, classes=("a", "b", "c", "d", "e")))
    change(folder, lambda told: told["data"].update(classes=["a", "b", "c"]))
    assert "3 → 4" in Outline(report.render([folder])).text


def test_files_that_were_no_pictures_are_named(make):
    folder = make(fake=Fake(skipped=tuple(f"bad{i}.png" for i in range(7))))
    said = "7 files could not be read as pictures and were left out: bad0.png, bad1.png, bad2.png, bad3.png"
    assert f"{said}, bad4.png and 2 more." in Outline(report.render([folder])).text


def test_everything_of_run_json_is_there(make):
    folder = make()
    outline = Outline(report.render([folder]))
    noted = json.loads((folder / "run.json").read_text())["provenance"]
    for value in [value for value in noted.values() if isinstance(value, str)]:
        assert value in outline.text
    assert f"{8 / 255!r}" in outline.text
    assert " ".join(noted["command"]) in outline.text


def test_large_pictures_keep_the_page_small(make):
    html = report.render([make(fake=Fake(n=30, shape=(3, 224, 224), shard=10))])
    assert len(html) < 2e6
    assert "Pictures are shrunk for this page" in html


def test_confusion_cells_are_counted_right(make):
    fake = Fake()
    whole = records(fake)
    html = report.render([make(fake=fake)])
    found = re.findall(r"<td(?: class=\"(hit|none)\")?(?: style=\"--s:[0-9.]+\")?>(\d+)</td>", html)
    cells = [int(count) for _, count in found]
    size = len(fake.classes)
    for place, (kind, count) in enumerate(found):
        right = place // size % size == place % size
        assert kind == ("none" if count == "0" else "hit" if right else "")
    assert len(cells) == 2 * size**2
    before = np.array(cells[: size**2]).reshape(size, size)
    after = np.array(cells[size**2 :]).reshape(size, size)
    pairs = list(zip(whole["label"], whole["prediction"]))
    assert all(before[i, j] == pairs.count((i, j)) for i in range(size) for j in range(size))
    assert after.trace() == (~whole["broken"][-1]).sum()
    assert (after.sum(1) == before.sum(1)).all()


def test_write_chooses_the_place(make, tmp_path):
    one, two = make("deep/one"), make("deep/two")
    assert report.write([one]) == one / "report.html"
    assert report.write([one, two]) == tmp_path / "deep" / "report.html"
    assert report.write([one], tmp_path / "new" / "page.html").read_text() == report.render([one])


def test_write_says_when_it_cannot(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        report.write([make()], tmp_path / "file" / "report.html")


def test_runs_of_one_name_are_told_apart(make):
    outline = Outline(report.render([make("a/run"), make("b/run")]))
    assert "a/run and b/run on synthetic" in outline.text
    folder = make("c")
    assert "c (2)" in Outline(report.render([folder, folder])).text


@pytest.mark.parametrize("model", ["/long/way/to/mine.py:net", "C:\\models\\mine.py:net", "mine.py:net"])
def test_a_model_at_the_end_of_a_path_is_called_by_its_last_part(make, model):
    (page,) = re.findall(r"<h1>(.*?)</h1>", report.render([make("run", Fake(model=model))]))
    assert page == "mine.py:net on synthetic"


def test_how_to_repeat_it_names_the_batch_that_was_measured(make):
    folder = make()
    assert "add <code>--batch 256</code>" in report.render([folder])
    change(folder, lambda run: run["provenance"]["command"].extend(["--batch", "256"]), "run.json")
    assert "add <code>--batch" not in report.render([folder])
