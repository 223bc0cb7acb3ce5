"""The parts under the page: figures, pictures, the choice of pictures, failures, words."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from holdfast.drawing import axes, marks
from holdfast.drawing.pictures import png
from holdfast.report import failures, figures, spread, words
from holdfast.report.gallery import first_of_each, gallery
from holdfast.report.pictures import amplification, heat_map, in_box, perturbation
from holdfast.report.run import read, read_all
from report_fixtures import Fake, records, write_run


def pixels(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


# Figures


@given(st.integers(0, 10**7))
@settings(max_examples=30, deadline=None)
def test_axis_ends_above_and_halves_whole(count):
    top = figures.round_up(count)
    assert count <= top <= max(2 * count, 2) or top <= 1.7 * count
    assert top % 2 == 0


def point(eps, rate, low=None, high=None):
    return figures.Point(eps, f"{eps:g}", rate, rate if low is None else low, rate if high is None else high)


def test_curve_puts_points_where_they_belong():
    one = figures.Series("a", 0, (point(0.0, 1.0), point(1.0, 0.5, 0.25, 0.75), point(2.0, 0.0)))
    svg = figures.curve([one], title="t", x_label="x")
    path = re.search(r'<polyline class="line" points="([^"]*)"', svg)[1]
    places = [tuple(map(float, place.split(","))) for place in path.split()]
    middle = (axes.LEFT + (axes.WIDTH - axes.RIGHT)) / 2
    height = axes.FLOOR - axes.TOP
    assert places == [
        (axes.LEFT, axes.TOP), (middle, axes.FLOOR - height / 2), (axes.WIDTH - axes.RIGHT, axes.FLOOR)
    ]  # fmt: skip
    band = re.search(r'<polygon class="band r0" points="([^"]*)"', svg)[1].split()
    assert band[1] == f"{middle:.1f},{axes.FLOOR - 0.75 * height:.1f}"
    assert band[4] == f"{middle:.1f},{axes.FLOOR - 0.25 * height:.1f}"
    assert "a: 100.0 % at 0, 50.0 % at 1, 0.0 % at 2" in svg


def test_histogram_heights_are_counts():
    bars = figures.Bars((0.0, 1.0, 2.0, 3.0), (5, 0, 10), ((0.0, "0"), (3.0, "3")))
    svg = figures.histogram(bars, title="t", x_label="x", tallest=20)
    heights = [float(height) for height in re.findall(r'<rect[^>]* height="([0-9.]+)"', svg)]
    assert heights == pytest.approx([(axes.FLOOR - axes.TOP) * share for share in (0.25, 0.5)], abs=0.06)
    assert "15 pictures" in svg


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.text(max_size=20))
@settings(max_examples=30, deadline=None)
def test_figures_are_well_formed_for_any_text(values, label):
    ticks = tuple((value, label) for value in sorted(values))
    whole = figures.curve(
        [figures.Series(label, 7, tuple(figures.Point(v, label, v, v, v) for v in sorted(values)))],
        title=label, x_label=label,
    )  # fmt: skip
    for svg in (whole, figures.histogram(figures.Bars((0.0, 1.0), (3,), ticks), title=label, x_label=label)):
        assert svg.count("<svg") == svg.count("</svg>") == 1
        HTMLParser().feed(svg)
        assert "NaN" not in svg.replace(label, "")


def test_texts_in_figures_are_escaped():
    svg = figures.curve([figures.Series("<a>", 0, (point(0.0, 1.0),))], title="<t>", x_label="<x>")
    svg += axes.bottom([(0.0, "<tick>")], (0.0, 1.0), "<label>")
    assert not re.search("<(a|t|x|tick|label)>", svg)


def test_labels_do_not_run_into_each_other():
    svg = axes.bottom([(place / 50, f"{place}/255") for place in range(51)], (0.0, 1.0), "")
    places = [float(x) for x in re.findall(r'<text class="tick" x="([0-9.]+)"', svg)]
    assert len(places) >= 4
    assert min(np.diff(places)) > 5 * axes.LETTER
    assert "50/255" in svg


def test_marks_differ_in_shape_as_in_colour():
    assert len({marks.mark(style, 0, 0, 5) for style in range(marks.STYLES)}) == marks.STYLES
    assert len({marks.colour(style) for style in range(marks.STYLES)}) == marks.STYLES


# Histograms from records


def test_spread_counts_every_broken_picture_once(tmp_path):
    run = read(write_run(tmp_path / "run"))
    whole = records(Fake())
    right = whole["label"] == whole["prediction"]
    first = {
        i: np.flatnonzero(whole["success"][:, i])[0] for i in range(60) if right[i] and whole["success"][:, i].any()
    }
    (bars,) = spread.rounds([run])
    steps = [whole["step"][eps, i] for i, eps in first.items()]
    inside = [sum(a <= step < b for step in steps) for a, b in zip(bars.edges, bars.edges[1:])]
    assert list(bars.counts) == inside
    assert sum(bars.counts) == len(first) == (right & whole["broken"][-1]).sum()
    (sizes,) = spread.sizes([run])
    assert sum(sizes.counts) == len(first)
    # Sizes that fill the radius lie in the bar around it, not on an edge.
    assert not any(abs(edge - radius) < 1e-6 for edge in sizes.edges for radius in Fake().eps)


def test_spread_shares_axes_and_leaves_out_runs_without_breaks(tmp_path):
    runs = read_all([write_run(tmp_path / "a"), write_run(tmp_path / "b", Fake(strength=9.0))])
    some, none = spread.rounds(runs)
    assert none is None
    assert some is not None
    many = read_all([write_run(tmp_path / "c"), write_run(tmp_path / "d", Fake(attack_steps=400))])
    first, second = spread.rounds(many)
    assert first.edges == second.edges
    assert len(first.counts) <= spread.MOST_BARS + 1


# Pictures


def test_png_gives_back_grey_and_colour():
    grey = np.linspace(0, 1, 12).reshape(1, 3, 4)
    np.testing.assert_array_equal(pixels(png(grey)), np.rint(grey[0] * 255))
    colour = np.random.default_rng(0).random((3, 5, 6))
    np.testing.assert_array_equal(pixels(png(colour)), np.rint(colour * 255).transpose(1, 2, 0))
    assert pixels(png(np.full((2, 4, 4), 0.2))).tolist() == [[51] * 4] * 4
    assert pixels(png(np.full((1, 2, 2), np.nan))).tolist() == [[128] * 2] * 2
    assert pixels(png(np.zeros((3, 300, 200)))).shape == (96, 64, 3)


def test_perturbation_is_grey_where_nothing_changed_and_brighter_for_more():
    delta = np.array([[[0.0, 0.01, -0.01]]])
    assert pixels(perturbation(delta, 20.0)).tolist() == [[128, round(255 * 0.7), round(255 * 0.3)]]


def test_stored_pictures_are_put_on_the_scale_of_the_box():
    assert in_box(np.array([[[0, 51, 255]]], np.uint8), 0.0, 1.0).ravel() == pytest.approx([0, 0.2, 1])
    assert in_box(np.array([[[-1.0, 0.0, 1.0]]], np.float32), -1.0, 1.0).ravel() == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("change", "factor"), [(8 / 255, 15), (0.5 / 16, 16), (0.1, 5), (0.3, 1.6), (0.7, 0.7), (9.0, 0.1)]
)
def test_amplification_fills_the_scale(change, factor):
    delta = np.zeros((1, 4, 4))
    delta[0, 0] = [change, -change, change, 0]
    assert amplification([delta, -delta]) == factor


def test_amplification_of_nothing():
    assert amplification([]) == amplification([np.zeros((1, 2, 2))]) == 1.0


def test_heat_map_is_green_where_right_and_red_where_wrong():
    table = np.array([[9, 1, 0], [0, 0, 4], [0, 0, 0]])
    seen = pixels(heat_map(table)).astype(int)
    red, green = seen[..., 0], seen[..., 1]
    assert green[0, 0] > red[0, 0]
    assert red[0, 1] > green[0, 1]
    assert red[1, 2] > green[1, 2]
    assert seen[1, 2].sum() < seen[0, 1].sum()
    assert seen[2].min() == 255


# The choice of pictures


def test_first_of_each_class_then_the_second():
    label = np.array([2, 2, 0, 2, 1, 0, 1, 0])
    every = np.ones(8, bool)
    assert first_of_each(label, every, 3) == [2, 4, 0]
    assert first_of_each(label, every, 5) == [2, 5, 4, 0, 1]
    assert first_of_each(label, every, 99) == [2, 5, 7, 4, 6, 0, 1, 3]
    assert first_of_each(label, label == 2, 2) == [0, 1]
    assert first_of_each(label, ~every, 2) == []


def test_gallery_tells_the_fate_of_each_picture(tmp_path):
    run, whole = read(write_run(tmp_path / "run")), records(Fake())
    shown = gallery([run])
    assert [group.kind for group in shown.groups] == ["broken", "held", "wrong"]
    right, lost = whole["label"] == whole["prediction"], whole["broken"][-1]
    assert [group.total for group in shown.groups] == [(right & lost).sum(), (~lost).sum(), (~right).sum()]
    for group in shown.groups:
        for card in group.cards:
            (fate,), i = card.fates, card.index
            assert fate.kind == group.kind
            assert fate.before == Fake().classes[whole["prediction"][i]]
            assert pixels(card.original).tolist() == whole["x"][i, 0].tolist()
            assert (fate.adversarial is None) == (fate.change is None) == (group.kind != "broken")
            if group.kind == "broken":
                eps = int(np.flatnonzero(whole["success"][:, i])[0])
                assert fate.eps == Fake().eps_text[eps]
                assert fate.after == Fake().classes[whole["prediction_adv"][eps, i]]
                assert fate.step == whole["step"][eps, i]
                assert fate.sure_after == words.percent(float(whole["confidence_adv"][eps, i]))


def test_gallery_shows_the_change_with_its_sign(tmp_path):
    run = read(write_run(tmp_path / "run"))
    shown = gallery([run])
    card = shown.groups[0].cards[0]
    change = pixels(card.fates[0].change).astype(float) - 128
    moved = pixels(card.fates[0].adversarial).astype(float) - pixels(card.original).astype(float)
    assert (np.sign(change[moved != 0]) == np.sign(moved[moved != 0])).all()


def test_side_by_side_the_same_pictures_are_shown(tmp_path):
    a, b = Fake(), Fake(seed=3, strength=12 / 255)
    runs = read_all([write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)])
    first, second = records(a), records(b)
    broken, held, wrong = gallery(runs).groups
    right = (first["label"] == first["prediction"]) & (second["label"] == second["prediction"])
    assert broken.total == (right & (first["broken"][-1] | second["broken"][-1])).sum()
    assert held.total == (~first["broken"][-1] & ~second["broken"][-1]).sum()
    assert wrong.total == (~right).sum()
    for card in broken.cards:
        kinds = [fate.kind for fate in card.fates]
        assert kinds == ["broken" if table["broken"][-1, card.index] else "held" for table in (first, second)]


# Failures and words


def test_hardest_classes_and_commonest_confusions():
    rows = [failures.ClassRow(name, n, n, k) for name, n, k in [("a", 10, 9), ("b", 10, 1), ("c", 20, 2), ("d", 0, 0)]]
    assert [row.name for row in failures.hardest(rows)] == ["c", "b", "a"]
    rows = [failures.ClassRow("many lost", 100, 100, 60), failures.ClassRow("large share lost", 10, 10, 4)]
    assert [row.name for row in failures.hardest(rows)] == ["large share lost", "many lost"]
    assert failures.hardest([failures.ClassRow("a", 5, 5, 5)]) == []
    told = {"data": {"classes": ["a", "b"]}, "confusion": {"after": [[9, 2, 0], [7, 1, 0], [0, 3, 5]]}}
    found = [(one.label, one.said, one.count, one.n) for one in failures.confusions(told, "after")]
    assert found == [("b", "a", 7, 8), ("2", "b", 3, 8), ("a", "b", 2, 11)]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.0, "0.0 %"), (1.0, "100.0 %"), (0.964, "96.4 %"), (0.9999, "> 99.9 %"), (1e-6, "< 0.1 %"),
        (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_percent_never_hides_the_last_picture(rate, text):
    assert words.percent(rate).replace(words.NBSP, " ") == text


@pytest.mark.parametrize(
    ("value", "eps", "text"),
    [(8 / 255, "8/255", "8/255"), (0.0301, "8/255", "7.68/255"), (0.5, "0.5", "0.5"), (float("inf"), "1", "–")],
)
def test_size_is_in_the_unit_of_its_radius(value, eps, text):
    assert words.size(value, eps) == text


def test_sentences():
    assert words.because("because it is so") == words.because("it is so.") == "it is so."
    assert words.sentence(" of 3 pictures 1 broke") == "Of 3 pictures 1 broke."
    assert words.sentence("") == ""
    assert words.points(-0.0281) == "−2.8 points"
    assert words.points(0.0) == "±0.0 points"
    assert [words.number(value) for value in (12.0, 55.2345, 12345.67, None)] == ["12", "55.23", "12345.7", "–"]
