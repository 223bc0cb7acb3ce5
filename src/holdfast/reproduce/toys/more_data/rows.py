"""The rows: errors by samples, samples needed by dimension, and how they grow."""

from collections.abc import Mapping, Sequence

from holdfast.reproduce.part import Part, mean_over
from holdfast.reproduce.table import Row, row
from holdfast.reproduce.toys.more_data.forms import MoreData, expected_need
from holdfast.reproduce.toys.more_data.needs import CHANCE, LEVELS, PERCENT, slope

GROUP = "S3 robust generalisation needs more data"
STANDARD, ROBUST, EXPONENT = "standard error", "robust error", "exponent of d"
TO_CHANCE, TO_PERCENT = "better than chance", "1 % robust error"


def with_samples(settings: MoreData, n: int) -> str:
    """The row of so many samples."""
    return f"d = {settings.counted}, n = {n}"


def in_dimension(d: int) -> str:
    """The row of a dimension."""
    return f"d = {d}"


def of_errors(settings: MoreData, errors: Mapping[int, Sequence[Part]]) -> list[Row]:
    """Errors by samples, beside the closed forms for the weights that these gave."""
    read = {STANDARD: "standard", ROBUST: "robust"}
    found = []
    for n, parts in errors.items():
        forms = {column: mean_over(parts, f"{key}_form") for column, key in read.items()}
        found.append(row(with_samples(settings, n), parts, read, published=forms, group=f"{GROUP}: errors"))
    return found


def of_needs(settings: MoreData, needs: Mapping[int, Sequence[Part]]) -> list[Row]:
    """Samples needed by dimension."""
    read, group = {CHANCE: "chance", PERCENT: "percent"}, f"{GROUP}: samples needed"
    return [
        row(in_dimension(d), parts, read, published=expected(settings, d), group=group) for d, parts in needs.items()
    ]


def expected(settings: MoreData, d: int) -> dict[str, float]:
    """The closed form of what is needed, for each level."""
    return {name: expected_need(d, level, settings.c, settings.eps) for name, level in LEVELS.items()}


def of_growth(settings: MoreData, slopes: Sequence[Part]) -> list[Row]:
    """The exponents: 1/2 for better than chance, where the margin is 0 and the inputs' own noise has no part."""
    forms = [expected(settings, d)[PERCENT] for d in settings.dimensions]
    published = {TO_CHANCE: 0.5, TO_PERCENT: slope(settings.dimensions, forms)}
    return [
        row(name, slopes, {EXPONENT: key}, published={EXPONENT: published[name]}, group=f"{GROUP}: growth with d")
        for name, key in ((TO_CHANCE, "chance"), (TO_PERCENT, "percent"))
    ]
