"""Errors under corruption as one number: against a baseline's, or plain."""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.corrupt import CORRUPTIONS, EXTRA
from holdfast.errors import DataError

Errors = Mapping[str, Mapping[int, float]]
"""The share of pictures that are wrong, by corruption and severity."""

COUNTED = tuple(name for name in CORRUPTIONS if name not in EXTRA)
"""The 15 corruptions that make up the mean."""


@dataclass(frozen=True)
class CorruptionError:
    """Errors of one corruption: the mean over severities, and that against the baseline's, before and after its own
    clean error is taken off. None where there is no baseline, or its part is 0 or below.
    """

    mean: float
    ce: float | None
    relative_ce: float | None


@dataclass(frozen=True)
class CorruptionErrors:
    """Of every corruption, and the means over those of the 15 that were there."""

    each: Mapping[str, CorruptionError]
    mean: float | None  # of plain errors: no mCE
    mce: float | None
    relative_mce: float | None

    @property
    def counted(self) -> tuple[str, ...]:
        """Which the means are over."""
        return tuple(name for name in COUNTED if name in self.each)

    @property
    def complete(self) -> bool:
        """Whether these are all 15, so that an mCE is what the source calls so."""
        return len(self.counted) == len(COUNTED)


def corruption_errors(
    errors: Errors, clean: float, baseline: Errors | None = None, baseline_clean: float = 0.0
) -> CorruptionErrors:
    """CE of corruption c: the errors at all severities added, over the baseline's added; mCE: their mean.

    Relative CE takes the model's clean error off its errors and the baseline's off the baseline's, before adding. An
    mCE of 1 is the baseline's own; where one of the CE is undefined, so is the mean. Gaussian blur, speckle noise,
    spatter and saturate are told, but not counted.
    Args: `errors` and `clean` are shares in [0, 1]; `baseline` has all corruptions and severities of `errors`.
    Raises: `DataError` where it lacks some. Cost: no model call.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, sec. 4.

    >>> corruption_errors({"fog": {1: 0.25, 2: 0.5}}, 0.1, {"fog": {1: 0.5, 2: 0.5}}, 0.2).each["fog"].ce
    0.75
    """
    base = {} if baseline is None else baseline
    if baseline is not None:
        _check_covers(errors, baseline)
    each = {name: _of_one(found, clean, base.get(name), baseline_clean) for name, found in errors.items()}
    kept = [each[name] for name in COUNTED if name in each]
    return CorruptionErrors(
        each,
        _mean([one.mean for one in kept]),
        _mean([one.ce for one in kept]),
        _mean([one.relative_ce for one in kept]),
    )


def _of_one(
    found: Mapping[int, float], clean: float, base: Mapping[int, float] | None, base_clean: float
) -> CorruptionError:
    mean = sum(found.values()) / len(found)
    if base is None:
        return CorruptionError(mean, None, None)
    ours, theirs = sum(found.values()), sum(base[severity] for severity in found)
    more, theirs_more = (all_of - len(found) * own for all_of, own in ((ours, clean), (theirs, base_clean)))
    # Below this, what is left of errors that are equal is rounding.
    relative = more / theirs_more if theirs_more > 1e-12 else None
    return CorruptionError(mean, ours / theirs if theirs else None, relative)


def _mean(values: list[float | None] | list[float]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def _check_covers(errors: Errors, baseline: Errors) -> None:
    missing = [
        f"{name} {level}" for name, found in errors.items() for level in found if level not in baseline.get(name, {})
    ]
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"the baseline lacks {len(missing)} of the corruptions and severities evaluated: {named}; allowed: one "
            "with all of them. Evaluate it with the same --corruptions and --severity."
        )
