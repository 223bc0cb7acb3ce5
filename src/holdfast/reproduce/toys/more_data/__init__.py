"""Robust generalisation needs more data: one sample makes an accurate classifier, about sqrt(d) make a robust one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.options import to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Column, Table
from holdfast.reproduce.toys.more_data import rows
from holdfast.reproduce.toys.more_data.counting import counted
from holdfast.reproduce.toys.more_data.figures import plots
from holdfast.reproduce.toys.more_data.forms import MoreData
from holdfast.reproduce.toys.more_data.needs import CHANCE, PERCENT, needed, slope
from holdfast.reproduce.toys.more_data.orderings import orderings
from holdfast.reproduce.toys.more_data.rows import EXPONENT, ROBUST, STANDARD

NOTES = (
    "More data: the theorems are stated for eps up to 1/4. The closed forms hold for any eps; at 1/2 the square "
    "root shows at dimensions that fit on a laptop.",
    "More data: for 1 % robust error the exponent comes to 1/2 only in the limit: at finite d the noise of the "
    "inputs themselves has its share, which falls as d grows.",
)


def measure(bench: Bench, settings: MoreData) -> Table:
    """Errors counted at one dimension, and samples needed at several."""
    errors = {n: _counted(bench, settings, n) for n in settings.samples}
    needs = {d: _needed(bench, settings, d) for d in settings.dimensions}
    slopes = [_fitted(bench, settings, needs, place) for place in range(len(bench.seeds))]
    found = (*rows.of_errors(settings, errors), *rows.of_needs(settings, needs), *rows.of_growth(settings, slopes))
    columns = (
        Column(STANDARD, about="share of fresh inputs that are misclassified; the closed form for the very weights"),
        Column(ROBUST, about=f"the same when each value may move by {settings.eps:g}, moved by FGSM"),
        Column(CHANCE, "samples", "n at which the median robust error falls through 50 %"),
        Column(PERCENT, "samples", "n at which it falls through 1 %"),
        Column(EXPONENT, "", "slope of log n against log d, by least squares"),
    )
    return Table(columns, found, orderings(settings, found, errors), plots(settings, errors, needs), NOTES)


def _counted(bench: Bench, settings: MoreData, n: int) -> list[Part]:
    return bench.each_seed(f"more-data/errors/n-{n}", to_plain(settings), lambda seed, _: counted(settings, n, seed))


def _needed(bench: Bench, settings: MoreData, d: int) -> list[Part]:
    return bench.each_seed(f"more-data/needed/d-{d}", to_plain(settings), lambda seed, _: needed(settings, d, seed))


def _fitted(bench: Bench, settings: MoreData, needs: Mapping[int, Sequence[Part]], place: int) -> Part:
    """The exponents of one seed, from what its parts found."""
    after = [some[place] for some in needs.values()]

    def work(_: Path) -> Mapping[str, float]:
        keys = ("chance", "percent")
        return {key: slope(settings.dimensions, [part.found[key] for part in after]) for key in keys}

    return bench.part("more-data/exponents", to_plain(settings), work, seed=bench.seeds[place], after=after)
