"""What the theorems say, and whether what was counted agrees with the closed forms."""

from collections.abc import Mapping, Sequence

from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Ordering, Row, falling, judged, mean_of, near
from holdfast.reproduce.toys.more_data.forms import MoreData
from holdfast.reproduce.toys.more_data.needs import CHANCE
from holdfast.reproduce.toys.more_data.rows import (
    EXPONENT,
    ROBUST,
    STANDARD,
    TO_CHANCE,
    TO_PERCENT,
    in_dimension,
    with_samples,
)

SAMPLE = "A single sample is enough for an accurate classifier (right with more than 99 %)."
WORSE = "The same single sample is worse than chance under attack; more samples mend it."
GROWS = "The robust classifier's need of samples grows with d."
ROOT = "It grows as the square root of d for better than chance (within 0.05)."
FORM = "For 1 % robust error it grows as the closed form says (within 0.05)."


def orderings(settings: MoreData, rows: Sequence[Row], errors: Mapping[int, Sequence[Part]]) -> tuple[Ordering, ...]:
    """Agreement first, then one sample, then the growth of the need."""
    first, last = (with_samples(settings, n) for n in (settings.samples[0], settings.samples[-1]))
    single = mean_of(rows, first, STANDARD)
    dimensions = [in_dimension(d) for d in reversed(settings.dimensions)]
    return (
        _agreement(errors),
        judged(SAMPLE, single < 0.01 if settings.samples[0] == 1 else None, {f"{first}, {STANDARD}": single}),
        falling(WORSE, rows, ROBUST, (first, last)),
        falling(GROWS, rows, CHANCE, dimensions),
        near(ROOT, rows, [(TO_CHANCE, EXPONENT)], within=0.05),
        near(FORM, rows, [(TO_PERCENT, EXPONENT)], within=0.05),
    )


def _agreement(errors: Mapping[int, Sequence[Part]]) -> Ordering:
    furthest = max(
        part.found[key] for some in errors.values() for part in some for key in ("standard_off", "robust_off")
    )
    sentence = "Errors that were counted agree with their closed forms within 4.5 standard errors."
    return judged(sentence, furthest < 4.5, {"largest deviation in standard errors": furthest})
