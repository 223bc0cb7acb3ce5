"""Reproductions: the framework on tiny work of its own, and the toys against their closed forms."""

import json
import math
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.stats import norm

from holdfast.attacks import FGSM, run
from holdfast.cli import app
from holdfast.drawing.charts import Bar, Line, bars, lines
from holdfast.drawing.field import field as drawn_field
from holdfast.drawing.pictures import centred, rows_of_pictures
from holdfast.drawing.scales import covering
from holdfast.errors import HoldfastError, OptionError, RunError
from holdfast.reproduce import (
    REPRODUCTIONS,
    Bench,
    Cell,
    Column,
    Ordering,
    Plot,
    Reproduction,
    Row,
    Table,
    cell_of,
    descending,
    falling,
    joined,
    judged,
    mean_of,
    near,
    reproduce,
    row,
)
from holdfast.reproduce.part import Part, mean_over, slug
from holdfast.reproduce.toys import Settings as ToySettings
from holdfast.reproduce.toys import boundaries, danskin, more_data, no_free_lunch
from holdfast.reproduce.toys.danskin import measuring, problems
from holdfast.reproduce.toys.linear import Linear
from holdfast.reproduce.toys.more_data import counting, forms, needs
from holdfast.reproduce.words import figure, judged_by, tally
from holdfast.threats import Linf


@dataclass(frozen=True)
class Tiny:
    scale: float = 0.5


class Stand:
    """A reproduction of two rows that counts its work, and fails where it is told to."""

    def __init__(self):
        self.done = []
        self.fails_at = None

    def measure(self, bench, settings):
        def work(name, add):
            def one(seed, folder):
                assert folder.is_dir()
                if (name, seed) == self.fails_at:
                    raise RunError("killed")
                self.done.append((name, seed))
                return {"accuracy": settings.scale + add + seed / 100, "seen": [1, 2]}

            return bench.each_seed(name, {"scale": settings.scale, "add": add}, one)

        rows = [
            row("plain", work("plain", 0.0), ["accuracy"], published={"accuracy": 0.5, "error": None}),
            row("hard", work("hard", 0.1), {"accuracy": "accuracy"}, published={"accuracy": 0.7}),
        ]
        order = descending("hard <b>beats</b> plain", rows, [("hard", "accuracy"), ("plain", "accuracy")])
        svg = lines([Line("a", 0, ((0, 0.1), (1, 0.2)))], title="Curve", x_label="x")
        return Table((Column("accuracy"), Column("error")), tuple(rows), (order,), (Plot("Curve", svg),), ("a & b",))

    def reproduction(self):
        return Reproduction(
            name="tiny",
            title="Tiny <table>",
            source="nowhere",
            setting="another world",
            presets={"small": Tiny(), "full": Tiny(0.6)},
            measure=self.measure,
        )


@pytest.fixture
def stand():
    return Stand()


def part(name="p", seed=0, **found):
    return Part(name, seed, f"parts/{name}/seed-{seed}", found, 0.0, "", False)


def rows_of(**means):
    return [row(name, [part(name, accuracy=value)], ["accuracy"]) for name, value in means.items()]


class Tags(HTMLParser):
    """Whether every tag that was opened is closed, in order."""

    VOID = frozenset({"meta", "br", "img", "link", "circle", "path", "rect", "line", "polyline", "polygon", "image"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


# The framework


def test_result_has_what_json_promises(stand, tmp_path):
    done = reproduce(stand.reproduction(), out=tmp_path / "r", seeds=(0, 2), command=["holdfast", "reproduce"])
    plain = json.loads((tmp_path / "r/result.json").read_text())
    assert plain == json.loads(json.dumps(done.to_plain()))
    assert (plain["name"], plain["preset"], plain["settings"]) == ("tiny", "small", {"scale": 0.5})
    first, second = plain["rows"]
    assert first["row"] == "plain"
    assert first["published"] == {"accuracy": 0.5, "error": None}
    assert first["ours"] == {"accuracy": pytest.approx(0.51)}
    assert first["spread"]["accuracy"]["seeds"] == {"0": 0.5, "2": 0.52}
    assert first["spread"]["accuracy"]["spread"] == pytest.approx(math.sqrt(2) / 100)
    assert second["parts"] == ["parts/hard/seed-0", "parts/hard/seed-2"]
    assert plain["orderings"][0]["held"] is True
    assert plain["orderings"][0]["seeds"] == {"0": True, "2": True}
    assert plain["conditions"]["seeds"] == [0, 2]
    assert {"holdfast", "torch", "python", "platform", "device", "threads", "command"} <= set(plain["conditions"])
    assert plain["seconds"] > 0


def test_numbers_are_read_from_run_folders(stand, tmp_path):
    """A part's file is where a resumed call has its numbers from; the work is not asked again."""
    reproduce(stand.reproduction(), out=tmp_path)
    file = tmp_path / "parts/plain/seed-0/part.json"
    told = json.loads(file.read_text())
    told["found"]["accuracy"] = 0.125
    file.write_text(json.dumps(told))
    done = reproduce(stand.reproduction(), out=tmp_path, resume=True)
    assert cell_of(done.table.rows, "plain", "accuracy").mean == 0.125
    assert stand.done == [("plain", 0), ("hard", 0)]


def test_numbers_from_elsewhere_are_refused(tmp_path):
    def measure(bench, settings):
        return Table((Column("a"),), (Row("r", {}, {"a": Cell({0: 1.0})}, ()),), ())

    made = Reproduction(name="x", title="", source="", setting="", presets={"small": Tiny()}, measure=measure)
    with pytest.raises(RunError, match="not from this call's parts"):
        reproduce(made, out=tmp_path)
    assert not (tmp_path / "result.json").exists()

    def foreign(bench, settings):
        return Table((Column("a"),), (row("r", [part(a=1.0)], ["a"]),), ())

    with pytest.raises(RunError, match="not from this call's parts"):
        reproduce(replace(made, measure=foreign), out=tmp_path, resume=True)


def test_a_killed_run_goes_on_with_what_is_finished(stand, tmp_path):
    stand.fails_at = ("hard", 1)
    with pytest.raises(RunError, match="killed"):
        reproduce(stand.reproduction(), out=tmp_path, seeds=(0, 1))
    assert stand.done == [("plain", 0), ("plain", 1), ("hard", 0)]
    assert not (tmp_path / "parts/hard/seed-1/part.json").exists()
    assert not (tmp_path / "result.json").exists()
    stand.fails_at, stand.done = None, []
    done = reproduce(stand.reproduction(), out=tmp_path, seeds=(0, 1), resume=True)
    assert stand.done == [("hard", 1)]
    assert done.to_plain()["kept_parts"] == ["parts/plain/seed-0", "parts/plain/seed-1", "parts/hard/seed-0"]


def test_seeds_may_be_added(stand, tmp_path):
    reproduce(stand.reproduction(), out=tmp_path)
    stand.done = []
    done = reproduce(stand.reproduction(), out=tmp_path, seeds=(0, 1), resume=True)
    assert stand.done == [("plain", 1), ("hard", 1)]
    assert list(cell_of(done.table.rows, "hard", "accuracy").seeds) == [0, 1]


def test_presets_are_never_mixed(stand, tmp_path):
    reproduce(stand.reproduction(), out=tmp_path)
    with pytest.raises(RunError, match="preset was 'small', now 'full'") as refused:
        reproduce(stand.reproduction(), out=tmp_path, preset="full", resume=True)
    assert repr(str(tmp_path)) in str(refused.value)  # the folder as a whole, before any part is looked at
    other = replace(stand.reproduction(), presets={"small": Tiny(0.25)})
    with pytest.raises(RunError, match=r"settings.scale was 0.5, now 0.25"):
        reproduce(other, out=tmp_path, resume=True)


def test_a_part_of_other_settings_is_refused(tmp_path):
    asked = {"reproduction": {"preset": "small"}}
    bench = Bench(out=tmp_path, seeds=(0,), asked=asked)
    first = bench.part("a", {"eps": 0.1}, lambda folder: {"v": 1})
    again = Bench(out=tmp_path, seeds=(0,), asked=asked, resume=True)
    assert again.part("a", {"eps": 0.1}, lambda folder: {"v": 2}).found == {"v": 1}
    for other in (
        lambda bench: bench.part("a", {"eps": 0.2}, lambda folder: {"v": 2}),
        lambda bench: bench.part("a", {"eps": 0.1}, lambda folder: {"v": 2}, after=[first]),
    ):
        with pytest.raises(RunError, match="was begun with other settings"):
            other(Bench(out=tmp_path, seeds=(0,), asked=asked, resume=True))
    with pytest.raises(RunError, match=r"other settings: reproduction.preset was 'small', now 'full'"):
        Bench(out=tmp_path, seeds=(0,), asked={"reproduction": {"preset": "full"}}, resume=True).part(
            "a", {"eps": 0.1}, lambda folder: {"v": 2}
        )
    with pytest.raises(RunError, match="not empty"):
        Bench(out=tmp_path, seeds=(0,), asked=asked).part("a", {"eps": 0.1}, lambda folder: {"v": 2})


def test_parts_refuse_what_cannot_be_kept(tmp_path):
    bench = Bench(out=tmp_path, seeds=(0,), asked={})
    with pytest.raises(RunError, match="cannot be written as JSON"):
        bench.part("nan", {}, lambda folder: {"v": math.nan})
    assert not (tmp_path / "parts/nan/seed-0/part.json").exists()
    with pytest.raises(OptionError, match="settings cannot be written"):
        bench.part("odd", {"x": object()}, lambda folder: {})
    bench.part("one", {}, lambda folder: {})
    with pytest.raises(OptionError, match="twice"):
        bench.part("one", {}, lambda folder: {})
    (tmp_path / "parts/one/seed-0/part.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        Bench(out=tmp_path, seeds=(0,), asked={}, resume=True).part("one", {}, lambda folder: {})


def test_folders_in_use_are_refused(stand, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunError, match="not empty"):
            reproduce(stand.reproduction(), out=tmp_path, resume=resume)
    with pytest.raises(RunError, match="is a file"):
        reproduce(stand.reproduction(), out=tmp_path / "notes.txt")
    reproduce(stand.reproduction(), out=tmp_path / "r")
    with pytest.raises(RunError, match="--resume"):
        reproduce(stand.reproduction(), out=tmp_path / "r")
    assert stand.done == [("plain", 0), ("hard", 0)]


@pytest.mark.parametrize(
    ("values", "strict", "ties", "by"),
    [
        ((0.9, 0.8, 0.7), True, True, True),
        ((0.9, 0.9, 0.7), False, True, False),
        ((0.7, 0.8, 0.9), False, False, False),
        ((0.9, 0.85, 0.7), True, True, False),
    ],
)
def test_orders_are_judged_right(values, strict, ties, by):
    rows = rows_of(**dict(zip("abc", values)))
    cells = [(name, "accuracy") for name in "abc"]
    assert descending("", rows, cells).held is strict
    assert descending("", rows, cells, ties=True).held is ties
    assert descending("", rows, cells, by=0.06).held is by
    assert descending("", rows, cells).numbers == {f"{n}, accuracy": v for n, v in zip("abc", values)}


def test_what_was_not_measured_is_not_held_and_not_refuted():
    rows = [*rows_of(a=0.9), row("b", [part("b", accuracy=0.1)], [], published={"accuracy": 0.8})]
    assert descending("", rows, [("a", "accuracy"), ("b", "accuracy")]).held is None
    assert near("", rows, [("b", "accuracy")], within=1).held is None
    assert judged("", True, {"x": None}).held is None
    assert judged("", False, {"x": 1.0}).held is False
    with pytest.raises(OptionError, match="unknown row 'c'"):
        descending("", rows, [("a", "accuracy"), ("c", "accuracy")])
    with pytest.raises(OptionError, match="at least two"):
        descending("", rows, [("a", "accuracy")])


def test_a_column_falls_as_its_cells_do():
    rows = rows_of(a=0.9, b=0.5, c=0.6)
    for names, by in (("ab", 0.0), ("abc", 0.0), ("ab", 0.5), ("cb", -0.2), ("bc", -0.2)):
        cells = [(name, "accuracy") for name in names]
        assert falling("", rows, "accuracy", names, by=by) == descending("", rows, cells, by=by)
    assert falling("", rows, "accuracy", "ab").held is True
    assert falling("", rows, "accuracy", "ab", by=0.5).held is False


def test_a_mean_is_that_of_the_seeds_or_refused():
    some = [part("a", seed, v=value) for seed, value in enumerate((0.25, 0.75))]
    rows = [row("a", some, ["v"], published={"w": 0.1})]
    assert mean_of(rows, "a", "v") == mean_over(some, "v") == 0.5
    with pytest.raises(OptionError, match="unknown column measured of the row 'a' 'w'"):
        mean_of(rows, "a", "w")


def test_works_are_done_in_turn_and_announced():
    told = []
    bench = Bench(out=None, seeds=(0,), asked={}, progress=lambda *news: told.append(news))
    assert list(bench.in_turn({"b": lambda: len(told), "a": lambda: len(told)}).items()) == [("b", 1), ("a", 2)]
    assert told == [(0, 2, "b"), (1, 2, "a")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mixup, the source's form", "mixup-the-sources-form"),
        ("l2 TV 0.01 + Lipschitz 0.1", "l2-tv-0.01-lipschitz-0.1"),
        ("line in Linf, PGD", "line-in-linf-pgd"),
    ],
)
def test_names_become_folders(name, expected):
    assert slug(name) == expected


def test_near_compares_with_the_published_figure():
    rows = [row("a", [part(v=0.50)], ["v"], published={"v": 0.52})]
    assert near("", rows, [("a", "v")], within=0.021).held is True
    assert near("", rows, [("a", "v")], within=0.019).held is False


def test_an_order_of_means_may_fail_for_a_seed():
    def of(name, *values):
        return row(name, [part(name, seed, v=value) for seed, value in enumerate(values)], ["v"])

    found = descending("", [of("a", 0.9, 0.5), of("b", 0.6, 0.6)], [("a", "v"), ("b", "v")])
    assert (found.held, found.seeds) == (True, {0: True, 1: False})
    assert "1 of 2 seeds" in judged_by(found)


def test_rows_and_tables_refuse_what_does_not_fit():
    with pytest.raises(OptionError, match="one part a seed"):
        row("r", [], ["v"])
    with pytest.raises(OptionError, match="one part a seed"):
        row("r", [part(v=1), part(v=2)], ["v"])
    with pytest.raises(OptionError, match=r"'acuracy'.*Did you mean 'accuracy'"):
        row("r", [part(accuracy=1)], ["acuracy"])
    with pytest.raises(OptionError, match="a number"):
        row("r", [part(v=True)], ["v"])
    with pytest.raises(OptionError, match="twice"):
        Table((Column("accuracy"),), (*rows_of(a=1), *rows_of(a=1)), ())
    with pytest.raises(OptionError, match="column of the row 'a'"):
        Table((Column("error"),), tuple(rows_of(a=1)), ())
    one, other = Table((Column("a"),), (), ()), Table((Column("a", "ms"),), (), ())
    assert joined([one, one]).columns == (Column("a"),)
    with pytest.raises(OptionError, match="differ"):
        joined([one, other])


def test_figures_never_round_to_certainty():
    share, plain = Column("a"), Column("b", "ms")
    assert figure(1e-6, share) == "< 0.01 %"
    assert figure(1 - 1e-6, share) == "> 99.99 %"
    assert figure(0.0, share) == "0.00 %"
    assert figure(1.0, share) == "100.00 %"
    assert figure(0.8738, share) == "87.38 %"
    assert figure(0.0392, plain) == "0.0392"
    assert figure(None, share) == "–"
    assert tally((Ordering("", True, {}), Ordering("", False, {}), Ordering("", None, {}))) == (
        "1 of 3 held, 1 not held, 1 not measured"
    )


def test_page_parses_and_says_which_preset(stand, tmp_path):
    done = reproduce(stand.reproduction(), out=tmp_path, preset="full")
    text = (tmp_path / "report.html").read_text()
    seen = Tags()
    seen.feed(text)
    assert seen.open == []
    told = " ".join(seen.text)
    assert "full preset; the figures called published come from another setting: another world" in told
    assert "hard <b>beats</b> plain" in told  # escaped: it is text
    assert "Tiny <table>" in told
    assert [tag for tag, _ in seen.seen].count("svg") >= 2
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "60.00 %" in told
    assert done.of.notice("full") in told
    same = replace(stand.reproduction(), same=("full",))
    assert same.notice("full").startswith("full preset, which is the setting")


@pytest.mark.browser
def test_page_opens_in_a_browser_without_errors(page, stand, tmp_path):
    reproduce(stand.reproduction(), out=tmp_path, seeds=(0, 1))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("h1").inner_text() == "Tiny <table>"
    assert page.locator("#orderings li").count() == 1
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# The command line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["reproduce", "tois"], "unknown reproduction 'tois'; known: .*toys.*Did you mean 'toys'"),
        (["reproduce", "toys", "--preset", "smal"], "unknown preset of toys 'smal'; known: full, small.*'small'"),
        (["reproduce", "toys", "--seeds", "0,0"], "--seeds '0,0'; allowed: whole numbers"),
        (["reproduce", "toys", "--seeds", "1.5"], "--seeds '1.5'; allowed: whole numbers"),
    ],
)
def test_wrong_usage_is_one_line(words, told, capsys):
    with pytest.raises(SystemExit) as left:
        app(words)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert re.match(f"error: {told}", said)
    assert said.count("\n") == 1


def test_the_command_prints_table_and_json(stand, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(REPRODUCTIONS, "tiny", stand.reproduction())
    words = ["reproduce", "tiny", "--out", str(tmp_path / "r"), "--device", "cpu", "-q"]
    with pytest.raises(SystemExit) as left:
        app(words)
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "small preset; the figures called published come from another setting" in said
    assert re.search(r"hard +70.00 % +60.00 %", said)
    assert "  held: hard <b>beats</b> plain" in said
    assert said.rstrip().endswith("report.html")
    with pytest.raises(SystemExit):
        app([*words, "--resume", "--json", "--seeds", "0,3"])
    plain = json.loads(capsys.readouterr().out)
    assert [one["row"] for one in plain["rows"]] == ["plain", "hard"]
    assert plain["rows"][1]["ours"]["accuracy"] == pytest.approx(0.615)
    assert plain["kept_parts"] == ["parts/plain/seed-0", "parts/hard/seed-0"]


def test_the_listing_names_them(capsys):
    with pytest.raises(SystemExit):
        app(["list", "reproductions", "--json"])
    assert set(json.loads(capsys.readouterr().out)["reproductions"]) == set(REPRODUCTIONS)


# What is drawn


def test_scales_reach_over_their_values():
    whole = covering([3, 17])
    assert (whole.low, whole.high) == (0, 17)
    assert whole.share(17) == 1
    assert covering([0.2, 0.9], percent=True).high == 1.0
    logarithmic = covering([1, 10, 1000], log=True)
    assert logarithmic.share(10) == pytest.approx(1 / 3)
    assert [text for _, text in covering([0, 1], percent=True).ticks()][-1] == "100 %"
    rounded = covering([2.7, 34.3], log=True, round_ends=True)
    assert (rounded.low, rounded.high) == (2, 50)
    assert [v for v, _ in rounded.ticks()] == [2, 5, 10, 20, 50]
    for one in (whole, logarithmic, covering([5.0]), covering([]), covering([-3, 4]), covering([1e-16, 0.3], log=True)):
        places = [one.share(value) for value, _ in one.ticks()]
        assert len(places) >= 2
        assert places == sorted(places)
        assert 0 <= places[0] < places[-1] <= 1


def test_charts_draw_what_they_are_given():
    svg = lines(
        [Line("<a>", 0, ((1, 0.5), (10, 0.25), (100, math.inf))), Line("b", 1, ((1, 0.1, 0.0, 0.2),), dashed=True)],
        title="T & U",
        x_label="steps",
        log_x=True,
        percent=True,
    )
    assert svg.count('class="mark"') == 2  # infinity is nowhere, and dashed lines are bare
    assert "stroke-dasharray" in svg
    assert "&lt;a&gt;: 25 % at 10" in svg
    blocks = bars([Bar("s", 0, (0.5, None)), Bar("r", 1, (0.25, 1.0))], ["one", "two"], title="B", percent=True)
    tall = [
        float(h) for h in re.findall(r'class="fill" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', blocks)
    ]
    assert len(tall) == 3
    assert tall[0] == pytest.approx(2 * tall[1], abs=0.2)
    assert tall[2] == pytest.approx(2 * tall[0], abs=0.2)
    said = np.zeros((4, 4), dtype=bool)
    said[0, :2] = said[3, 3] = True
    area = drawn_field(said, [(0.5, 0.25, 1)], 0.1, [True], title="F")
    assert re.findall(r'class="band" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', area) == [
        ("0.00", "360.00", "240.00"),
        ("360.00", "0.00", "120.00"),
    ]
    assert area.count("var(--bad)") == 1
    shown = rows_of_pictures([("a", [np.zeros((1, 8, 8)), centred(np.eye(8)[None])])], ["x", "grad"], title="P")
    assert shown.count("<image") == shown.count("data:image/png") == 2


# Decision boundaries

FEW = boundaries.Boundaries(points=30, steps=250, width=64, grid=21, test_steps=40)


@pytest.mark.parametrize("seed", [0, 1])
def test_points_are_parted_by_the_line_and_their_boxes_by_a_gap(seed):
    x, y = boundaries.points(FEW, seed)
    flat = x.flatten(1).double()
    assert len(flat) == FEW.points
    assert 0 < y.sum() < FEW.points
    apart = torch.cdist(flat, flat, p=math.inf)[y == 0][:, y == 1]
    assert apart.min() >= 2 * FEW.eps + FEW.gap - 1e-6
    assert flat.min() >= FEW.eps - 1e-6
    assert flat.max() <= 1 - FEW.eps + 1e-6
    with pytest.raises(OptionError, match="room for"):
        boundaries.points(replace(FEW, points=400), seed)


def test_boxes_that_a_line_cuts_are_those_nearer_than_eps():
    """Against a linear programme that looks for the nearest point of the other side."""
    x, y = boundaries.points(FEW, 0)
    model = boundaries.linear(FEW, 0)
    weight = (model[1].weight[1] - model[1].weight[0]).detach().double().numpy()
    bias = float((model[1].bias[1] - model[1].bias[0]).detach())
    distances = []
    for point in x.flatten(1).double().numpy():
        found = linprog(  # the least t with |delta| <= t and w (x + delta) + b = 0
            [0, 0, 1],
            A_ub=[[1, 0, -1], [-1, 0, -1], [0, 1, -1], [0, -1, -1]],
            b_ub=[0] * 4,
            A_eq=[[*weight, 0]],
            b_eq=[-bias - weight @ point],
            bounds=[(None, None)] * 2 + [(0, None)],
        )
        distances.append(found.fun)
    expected = torch.tensor(distances) > FEW.eps
    assert 0 < expected.sum() < len(expected)
    assert torch.equal(boundaries.whole_of_a_line(model[1], x, y, FEW.eps), expected)
    assert torch.equal(boundaries.whole(model, x, y, FEW.eps, 5), expected)
    assert torch.equal(boundaries.whole_of_a_line(model[1], x, 1 - y, FEW.eps), torch.zeros(len(y), dtype=torch.bool))


def test_boundaries_on_few_points(tmp_path):
    table = boundaries.measure(Bench(out=tmp_path, seeds=(0,), asked={}), FEW)
    assert [order.held for order in table.orderings] == [True] * 4
    assert len(table.plots) == 3
    for name in (boundaries.LINEAR, boundaries.PLAIN, boundaries.HARDENED):
        # What the grid finds cut, an attack may miss; it finds hardly a cut that the grid does not.
        grid, attacked = (cell_of(table.rows, name, column).mean for column in (boundaries.WHOLE, boundaries.ATTACKED))
        assert abs(grid - attacked) <= 1 / FEW.points + 1e-9


# More data

SMALL = forms.MoreData(dimensions=(400, 1600, 6400), counted=400, samples=(1, 4, 32), tests=4000, sets=40)


def test_closed_forms_of_the_gaussian_model():
    """Against an integral, and against the worst corner of the box, point by point."""
    generator = torch.Generator().manual_seed(0)
    w, theta = torch.randn(5, generator=generator, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    mean, scale = float(w @ theta), 0.7 * float(w.norm())
    for eps, form in (
        (0.0, forms.standard_error(w, theta, 0.7)),
        (0.3, forms.robust_error(w, theta, 0.7, 0.3)),
    ):
        shift = eps * float(w.abs().sum())
        area, _ = quad(lambda v, s=shift: norm.pdf(v, mean, scale) * (v - s < 0), -40, 40, points=[shift], limit=200)
        assert form == pytest.approx(area, abs=1e-6)
    x = theta + 0.7 * torch.randn(200_000, 5, generator=generator, dtype=torch.float64)
    corners = torch.cartesian_prod(*[torch.tensor([-0.3, 0.3], dtype=torch.float64)] * 5)
    worst = (x @ w) + (corners @ w).min()
    counted = (worst < 0).double().mean().item()
    assert counted == pytest.approx(forms.robust_error(w, theta, 0.7, 0.3), abs=4 * math.sqrt(0.25 / 200_000))


def test_margin_for_large_d_is_that_of_drawn_weights():
    d, n = 400_000, 5
    s = SMALL.sigma(d) / math.sqrt(n)
    w = 1 + s * torch.randn(d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = float(w.sum() - SMALL.eps * w.abs().sum()) / (SMALL.sigma(d) * float(w.norm()))
    assert forms.expected_margin(d, n, SMALL.c, SMALL.eps) == pytest.approx(exact, abs=0.05)


def test_the_need_for_better_than_chance_grows_as_the_square_root():
    needs = [forms.expected_need(d, 0.5, 0.6, 0.5) for d in (10**3, 10**5, 10**7)]
    assert needs[1] / needs[0] == pytest.approx(10, rel=1e-6)
    assert needs[2] / needs[1] == pytest.approx(10, rel=1e-6)
    assert forms.expected_need(400, 1e-9, 0.6, 0.9) == math.inf  # more samples do not mend the inputs' own noise


def test_counted_errors_agree_with_the_forms():
    for n in SMALL.samples:
        found = counting.counted(SMALL, n, seed=3)
        for key in ("standard", "robust"):
            form = found[f"{key}_form"]
            assert abs(found[key] - form) <= 4.5 * math.sqrt(max(form * (1 - form), 1 / SMALL.tests) / SMALL.tests)
    first = counting.counted(SMALL, 1, seed=3)
    assert first["standard"] < 0.01
    assert first["robust"] > 0.5


@pytest.mark.parametrize(
    ("course", "expected"), [([0.0, 1.0, 3.0], 2.5), ([2.0, 3.0], 1.0), ([0.0, 1.0], math.inf), ([1.0, 2.0], 2.0)]
)
def test_where_a_course_crosses(course, expected):
    assert needs.crossing(course, 2.0) == expected


@pytest.mark.parametrize("d", [1600, 6400])
def test_the_samples_needed_are_those_of_the_form(d):
    found = needs.needed(SMALL, d, seed=0)
    for name, level in needs.LEVELS.items():
        assert found["needed"][name] == pytest.approx(forms.expected_need(d, level, SMALL.c, SMALL.eps), rel=0.05)


def test_more_data_in_small(tmp_path):
    table = more_data.measure(Bench(out=tmp_path, seeds=(0, 1), asked={}), SMALL)
    assert [order.held for order in table.orderings] == [True] * 6
    exponent = cell_of(table.rows, "better than chance", more_data.EXPONENT)
    assert exponent.mean == pytest.approx(0.5, abs=0.05)


# No free lunch

LUNCH = no_free_lunch.NoFreeLunch(d=100, pictures=2000, tests=20_000, steps=200)


def test_closed_forms_of_the_strong_and_the_weak():
    standard, robust = no_free_lunch.accuracies(no_free_lunch.average(LUNCH), LUNCH)
    assert standard == pytest.approx(norm.cdf(3))  # eta sqrt(d) is the strength
    assert robust == pytest.approx(norm.cdf(-3))
    assert no_free_lunch.accuracies(no_free_lunch.strong(LUNCH), LUNCH) == (0.95, 0.95)


def test_no_weighting_beats_the_best_nor_the_bound():
    """The best weighting is best on inputs as they are; the theorem's bound holds for every linear classifier."""
    generator = torch.Generator().manual_seed(0)
    best = no_free_lunch.best(LUNCH)
    top = no_free_lunch.accuracies(best, LUNCH)[0]
    for scale in (0.01, 0.1, 1.0, 10.0):
        for _ in range(20):
            noise = torch.randn(1 + LUNCH.d, generator=generator, dtype=torch.float64)
            weight = best * (1 + scale * noise)
            weight[0] *= 10 ** float(torch.rand(1, generator=generator) * 4 - 2)
            standard, robust = no_free_lunch.accuracies(weight, LUNCH)
            assert standard <= top + 1e-12
            assert robust <= no_free_lunch.bound(standard, LUNCH.p) + 1e-12


def test_counted_accuracies_agree_with_the_forms_for_any_weights():
    # With these, each of the adversary's changes, of the strong feature and of weak ones of either sign, shows.
    weight = torch.cat([torch.tensor([3.0]), torch.linspace(-0.02, 0.22, LUNCH.d)]).double()
    found = no_free_lunch.counted(weight, LUNCH, seed=1)
    assert found["off"] < 4.5
    assert 0.02 < found["robust"] < found["standard"] < 0.999
    x, y = no_free_lunch.inputs(LUNCH, 1, 4000)
    assert ((x[:, 0, 0, 0] > 0) == (y == 1)).double().mean() == pytest.approx(0.95, abs=0.02)
    assert float(((2 * y - 1)[:, None] * x[:, 0, 0, 1:]).mean()) == pytest.approx(LUNCH.eta, abs=0.01)


def test_no_free_lunch_in_small(tmp_path):
    table = no_free_lunch.measure(Bench(out=tmp_path, seeds=(0,), asked={}), LUNCH)
    assert [order.held for order in table.orderings] == [True] * 7


# Danskin

ROOM = problems.Danskin(inputs=16, steps=(1, 10, 200))


def maximum(problem):
    """The mean inner maximum on paper, written apart from the gradients."""
    x, eps = problem.x.flatten(1), float(problem.threat.eps)
    if isinstance(problem.model, Linear):
        w = problem.model.w
        norm_ = w.abs().sum() if isinstance(problem.threat, Linf) else w.square().sum().sqrt()
        return torch.log1p(torch.exp(-(2 * problem.y - 1) * (x @ w) + eps * norm_)).mean()
    away = problem.model.theta - x
    if isinstance(problem.threat, Linf):
        gap = (away.abs() - eps).clamp(min=0).square().sum(1)
    else:
        gap = (away.square().sum(1).sqrt() - eps).clamp(min=0).square()
    return torch.log1p(torch.exp(-0.5 * gap)).mean()


@pytest.mark.parametrize("name", problems.CASES)
def test_gradients_on_paper_are_those_of_the_maximum(name):
    problem = problems.CASES[name](ROOM, 5)
    (gradient,) = torch.autograd.grad(maximum(problem), list(problem.model.parameters()))
    torch.testing.assert_close(problem.known(problem), gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", problems.CASES)
def test_the_gradient_at_the_maximiser_is_that_of_the_maximum(name):
    problem = problems.CASES[name](ROOM, 5)
    before = [parameter.detach().clone() for parameter in problem.model.parameters()]
    found = measuring.compared(problem, ROOM.steps, seed=5)
    assert found["error"] < (1e-3 if "Auto" in name else 1e-7)
    assert found["error"] < found["course"][0]
    assert found["slope"] == pytest.approx(-1, abs=1e-3)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(before, problem.model.parameters()))


def test_away_from_the_maximiser_a_step_can_raise_the_maximum():
    found = measuring.at_the_least_point(ROOM, 0)
    assert found["error"] == pytest.approx(found["error_form"], rel=1e-9)
    assert found["error"] > 1
    problem = problems.shrinking(ROOM)
    before = float(maximum(problem).detach())
    x_adv = run(FGSM(), problem.model, problem.x, 1 - problem.y, problem.threat, aim="highest_loss").x_adv
    gradient = measuring.gradient_at(problem, x_adv)
    with torch.no_grad():
        problem.model.w.sub_(0.01 * gradient / gradient.norm())
    assert float(maximum(problem).detach()) > before
    assert found["slope"] == pytest.approx(1, abs=1e-3)


def test_danskin_as_a_table(tmp_path):
    table = danskin.measure(Bench(out=tmp_path, seeds=(0,), asked={}), ROOM)
    assert [order.held for order in table.orderings] == [True] * 3


# Toys together


def test_toys_are_one_table_with_a_plot_each(tmp_path):
    toys = replace(
        REPRODUCTIONS["toys"],
        presets={"small": ToySettings(boundaries=FEW, more_data=SMALL, no_free_lunch=LUNCH, danskin=ROOM)},
    )
    done = reproduce(toys, out=tmp_path)
    assert len(done.table.orderings) == 20
    groups = {plot.group for plot in done.table.plots}
    assert {group[:2] for group in groups} == {"S2", "S3", "S4", "S6"}
    assert done.conditions["device"] == "cpu"
    again = reproduce(toys, out=tmp_path, resume=True, device="cuda")
    assert all(part.kept for part in again.parts)
    assert again.to_plain()["rows"] == done.to_plain()["rows"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: boundaries.Boundaries(eps=0.3),
        lambda: forms.MoreData(eps=1.0),
        lambda: forms.MoreData(dimensions=(100,)),
        lambda: no_free_lunch.NoFreeLunch(p=1.0),
        lambda: no_free_lunch.NoFreeLunch(d=4),
        lambda: problems.Danskin(eps=0.0),
        lambda: Reproduction(name="x", title="", source="", setting="", presets={"full": 1}, measure=print),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(HoldfastError, match="allowed"):
        make()
