"""Sets of classes that hold the right one with a wanted probability, whatever the model."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from holdfast.draws import Draws
from holdfast.errors import DataError
from holdfast.uncertainty.checks import check, check_share

FITTED, ASKED = 0, 1  # streams of draws, so that pictures of two splits at one place share none


class Rule(Protocol):
    """How strange each class is for a picture; a frozen record of options."""

    name: ClassVar[str]

    def strangeness(self, p: Tensor, u: Tensor) -> Tensor:
        """(N, K), larger where stranger, from probabilities (N, K) and uniform draws (N,), both float64."""
        ...


@dataclass(frozen=True)
class Conformal:
    """A rule and the level up to which classes are in the set."""

    rule: Rule
    level: float  # infinity where there were too few pictures to leave out any class
    alpha: float
    seed: int

    def sets(self, logits: Tensor, place: Tensor | None = None) -> Tensor:
        """(N, K) bool, the classes in each picture's set.

        Args: `logits` (N, K) floating; `place` (N,) int64, of each picture in its split, which its noise belongs to;
        0 to N - 1 when not given. A set may be empty where the rule draws; coverage is over all sets, empty ones too.
        """
        p = logits.detach().double().cpu().softmax(1)
        return self.rule.strangeness(p, _uniform(len(p), place, self.seed, ASKED)) <= self.level


def conformal(
    rule: Rule, logits: Tensor, labels: Tensor, *, alpha: float = 0.1, seed: int = 0, place: Tensor | None = None
) -> Conformal:
    """Sets of classes, made so that they hold the label of a new picture with probability 1 - `alpha` or more.

    The level is the k-th smallest strangeness of the labels of these N pictures, k = ceil((N + 1)(1 - alpha)). The
    guarantee is over the draw of these pictures and a new one of the same kind, for any model that was not fitted on
    them; it is of the mean over pictures and not of each class, as `coverage` shows.
    Args: `logits` (N, K) floating, `labels` (N,) int64; `place` as in `Conformal.sets`.
    Raises: as `uncertainty.check`; `OptionError` for an alpha outside (0, 1). Cost: no model call.
    Source: Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World (split conformal prediction).
    """
    check_share("conformal", "alpha", alpha)
    found, y = check(logits, labels)
    strange = rule.strangeness(found.softmax(1), _uniform(len(y), place, seed, FITTED))
    own = strange.gather(1, y[:, None]).squeeze(1).sort().values
    k = math.ceil(round((len(y) + 1) * (1 - alpha), 9))  # 0.9 * 10 is 9.000000000000001 to some
    return Conformal(rule, float(own[k - 1]) if k <= len(y) else math.inf, alpha, seed)


@dataclass(frozen=True)
class Coverage:
    """How many of some pictures have their label in the set, by class and by size; each entry (k, n)."""

    whole: tuple[int, int]
    classes: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[int, int], ...]  # of sets of 0, 1, ... K classes
    mean_size: float

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""

        def share(k: int, n: int) -> dict[str, Any]:
            return {"k": k, "n": n, "rate": k / n if n else None}

        return {
            **share(*self.whole),
            "mean_size": self.mean_size,
            "classes": [share(*one) for one in self.classes],
            "sizes": [{"size": size, **share(*one)} for size, one in enumerate(self.sizes) if one[1]],
        }


def coverage(sets: Tensor, labels: Tensor) -> Coverage:
    """How often `sets` (N, K) bool hold `labels` (N,) int64. Raises: `DataError` for other shapes or no picture."""
    if sets.ndim != 2 or sets.dtype != torch.bool or labels.shape != sets.shape[:1] or not len(labels):
        raise DataError(
            f"sets of {tuple(sets.shape)} {sets.dtype}, labels of {tuple(labels.shape)}; allowed: (N, K) bool, (N,)."
        )
    y = labels.cpu()
    hit, size, classes = sets.gather(1, y[:, None]).squeeze(1), sets.sum(1), sets.shape[1]
    return Coverage(
        (int(hit.sum()), len(y)),
        _pairs(hit, y, classes),
        _pairs(hit, size, classes + 1),
        float(size.double().mean()),
    )


def _pairs(hit: Tensor, group: Tensor, groups: int) -> tuple[tuple[int, int], ...]:
    count = group.bincount(minlength=groups).tolist()
    hits = group[hit].bincount(minlength=groups).tolist()
    return tuple(zip(hits, count, strict=True))


def _uniform(n: int, place: Tensor | None, seed: int, stream: int) -> Tensor:
    where = torch.arange(n) if place is None else place.cpu()
    return Draws(seed, where).uniform(torch.zeros(n, dtype=torch.float64), stream)
