"""How far a measure would vary with other pictures of the same kind."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.draws import Draws
from holdfast.uncertainty.bins import BINS, Bins, equal_mass, equal_width
from holdfast.uncertainty.checks import check, check_count
from holdfast.uncertainty.measures import confidence, distances, surprises

LEVEL = 0.95
AT_ONCE = 4_000_000  # numbers drawn together: 32 MB


@dataclass(frozen=True)
class Interval:
    """A measure and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def intervals(
    logits: Tensor, labels: Tensor, *, bins: int = BINS, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """`ece`, `mce`, `adaptive_ece`, `nll`, `brier` and `accuracy`, each with a 95 % bootstrap interval.

    Pictures are drawn with replacement, `resamples` times; the bins of `adaptive_ece` stay those of the whole. The
    interval holds both the quantiles of the resamples and twice the value less these, since a calibration error is a
    mean of absolute values: a resample's is larger than that of the whole, on average, which quantiles alone miss on
    one side and their mirror image overdoes on the other. It is cut to where the measure can be. Of known errors from
    2 to 10 % it held 93 to 95 of 100 in simulations of 2,000 pictures; nearer 0 it holds fewer.
    Args: `logits` (N, K) floating; `labels` (N,) int64. Cost: no model call; `resamples` x N draws, keyed by `seed`.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap; basic: Davison & Hinkley 1997, sec. 5.2.
    Raises: as `uncertainty.check`, and `OptionError` for fewer than 2 resamples.
    """
    found, y = check(logits, labels)
    check_count("intervals", "resamples", resamples, least=2)
    said, right = confidence(found, y)
    tables = {"ece": equal_width(said, right, bins), "adaptive_ece": equal_mass(said, right, bins)}
    singles = torch.stack([surprises(found, y), distances(found, y), right.double()], 1)
    gaps = {name: _gaps(one, said - right.double()) for name, one in tables.items()}
    drawn = _resampled(singles, gaps, tables["ece"], resamples, seed)
    whole = _measured(torch.ones(1, len(y), dtype=torch.float64), singles, gaps, tables["ece"])
    most = {"nll": torch.inf, "brier": 2.0}
    return {name: _interval(float(whole[name]), drawn[name], most.get(name, 1.0)) for name in whole}


def _gaps(bins: Bins, excess: Tensor) -> Tensor:
    """(N, B) confidence less hit of each picture, in the column of its bin."""
    columns = excess.new_zeros(len(excess), len(bins.count))
    return columns.scatter(1, bins.index[:, None], excess[:, None])


def _resampled(singles: Tensor, gaps: dict[str, Tensor], bins: Bins, resamples: int, seed: int) -> dict[str, Tensor]:
    """Each measure (R,) of every resample."""
    parts = [_measured(counts, singles, gaps, bins) for counts in _counts(len(singles), resamples, seed)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _counts(n: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """(R', n) how often each picture is in each resample, some resamples at once; the split does not matter."""
    rows = max(1, AT_ONCE // n)
    for start in range(0, resamples, rows):
        which = torch.arange(start, min(start + rows, resamples))
        drawn = Draws(seed, which).integers(torch.zeros(len(which), n), n)
        flat = (drawn + n * torch.arange(len(which))[:, None]).flatten()
        yield flat.bincount(minlength=n * len(which)).view(-1, n).double()


def _measured(counts: Tensor, singles: Tensor, gaps: dict[str, Tensor], bins: Bins) -> dict[str, Tensor]:
    """The measures (R,) of pictures counted `counts` (R, N) times."""
    n = counts.shape[1]
    nll, brier, accuracy = (counts @ singles / n).unbind(1)
    found = {name: counts @ gap for name, gap in gaps.items()}
    inside = torch.zeros(len(counts), len(bins.count), dtype=torch.float64).index_add_(1, bins.index, counts)
    return {
        **{name: gap.abs().sum(1) / n for name, gap in found.items()},
        "mce": (found["ece"].abs() / inside.clamp_min(1)).amax(1),
        "nll": nll,
        "brier": brier,
        "accuracy": accuracy,
    }


def _interval(value: float, drawn: Tensor, most: float) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(drawn, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(value, max(0.0, min(low, 2 * value - high)), min(most, max(high, 2 * value - low)))
