"""Robust generalisation needs more data: one sample makes an accurate classifier, about sqrt(d) make a robust one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.attacks import FGSM, run
from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, descending, judged, near, row
from holdfast.threats import Linf

GROUP = "S3 robust generalisation needs more data"
STANDARD, ROBUST = "standard error", "robust error"
CHANCE, PERCENT, EXPONENT = "samples for better than chance", "samples for 1 % robust error", "exponent of d"
LEVELS = {CHANCE: 0.5, PERCENT: 0.01}
BOX = 1e4  # the inputs have no bounds; an attack wants some
MOST = 100_000  # samples


@dataclass(frozen=True, kw_only=True)
class MoreData:
    """Labels of +-1, inputs N(y theta, sigma^2 I) with ||theta|| = sqrt(d) and sigma = c d^(1/4); theta is all ones.

    The classifier is the sign of <w, x> with w the mean of y x over n samples.
    Source: Schmidt et al. 2018, arXiv:1804.11285, the Gaussian model; theorems for eps up to 1/4, the forms for any.
    """

    dimensions: tuple[int, ...] = option((1600, 6400, 25600, 102400), "where the samples needed are counted")
    c: float = option(0.6, "noise, in units of d^(1/4)")
    eps: float = option(0.5, "radius in Linf; an input's mean is 1")
    sets: int = option(30, "training sets, of whose errors the median counts")
    counted: int = option(1600, "the dimension where errors are counted")
    samples: tuple[int, ...] = option((1, 2, 4, 8, 16, 32, 64), "training samples there")
    tests: int = option(4000, "test inputs there")

    def __post_init__(self) -> None:
        if not (0 < self.eps < 1 and self.c > 0 and min(self.dimensions) >= 100 and len(self.dimensions) >= 2):
            raise OptionError(
                f"{self!r}: allowed: 0 < eps < 1, c > 0, two dimensions or more, each >= 100. Leave them as they are."
            )

    def sigma(self, d: int) -> float:
        """The noise of each coordinate."""
        return self.c * math.sqrt(math.sqrt(d))


def measure(bench: Bench, settings: MoreData) -> Table:
    """Errors counted at one dimension, and samples needed at several."""
    asked = to_plain(settings)
    errors: dict[int, list[Part]] = {n: [] for n in settings.samples}
    for n in settings.samples:

        def count(seed: int, _: Path, n: int = n) -> Mapping[str, Any]:
            return counted(settings, n, seed)

        errors[n] = bench.each_seed(f"more-data/errors/n-{n}", asked, count)
    needs: dict[int, list[Part]] = {}
    for d in settings.dimensions:

        def search(seed: int, _: Path, d: int = d) -> Mapping[str, Any]:
            return needed(settings, d, seed)

        needs[d] = bench.each_seed(f"more-data/needed/d-{d}", asked, search)
    slopes = [_fitted(bench, settings, needs, place) for place in range(len(bench.seeds))]
    rows = [*_rows_of_errors(settings, errors), *_rows_of_needs(settings, needs, slopes)]
    columns = (
        Column(STANDARD, about="share of fresh inputs that are misclassified; the closed form for the very weights"),
        Column(ROBUST, about=f"the same when each value may move by {settings.eps:g}, moved by FGSM"),
        Column(CHANCE, "samples", "n at which the median robust error falls through 50 %"),
        Column(PERCENT, "samples", "n at which it falls through 1 %"),
        Column(EXPONENT, "", "slope of log n against log d, by least squares"),
    )
    return Table(columns, tuple(rows), _orderings(settings, rows, errors), _plots(settings, errors, needs), _notes())


def standard_error(w: Tensor, theta: Tensor, sigma: float) -> float:
    """P(y <w, x> < 0) for x ~ N(y theta, sigma^2 I)."""
    return below(float(w @ theta) / (sigma * float(w.norm())))


def robust_error(w: Tensor, theta: Tensor, sigma: float, eps: float) -> float:
    """P(y <w, x + delta> < 0 for some delta of size eps in Linf): the margin loses eps ||w||_1."""
    return below((float(w @ theta) - eps * float(w.abs().sum())) / (sigma * float(w.norm())))


def below(margin: float) -> float:
    """Phi(-margin), right far out too."""
    return 0.5 * math.erfc(margin / math.sqrt(2))


def expected_margin(d: int, n: float, c: float, eps: float) -> float:
    """The robust margin for large d, where norms and products of w = theta + s g, s = sigma / sqrt(n), are their means.

    <w, theta> = d, ||w||^2 = d (1 + s^2), and ||w||_1 = d E|1 + s z| with z standard normal (a folded normal).
    """
    sigma = c * math.sqrt(math.sqrt(d))
    s = sigma / math.sqrt(n)
    folded = s * math.sqrt(2 / math.pi) * math.exp(-1 / (2 * s * s)) + 1 - 2 * below(1 / s)
    return (1 - eps * folded) * math.sqrt(d) / (sigma * math.sqrt(1 + s * s))


def expected_need(d: int, level: float, c: float, eps: float) -> float:
    """The n, not rounded, at which Phi(-expected margin) is `level`; inf where no n is enough."""
    low, high = 1e-3, float(MOST)
    if below(expected_margin(d, high, c, eps)) > level:
        return math.inf
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if below(expected_margin(d, middle, c, eps)) < level else (middle, high)
    return high


def counted(settings: MoreData, n: int, seed: int) -> dict[str, Any]:
    """Errors on fresh inputs of weights from n samples, beside the closed forms for these weights."""
    d, eps = settings.counted, settings.eps
    sigma, theta = settings.sigma(d), torch.ones(d, dtype=torch.float64)
    noise = torch.Generator().manual_seed(1000 * seed + n)
    w = theta + sigma * torch.randn(n, d, generator=noise, dtype=torch.float64).mean(0)  # the mean of y x
    # In units of the noise, so that no answer is so sure that its gradient rounds to zero; signs stay as they are.
    model = Sign(w / (sigma * w.norm()))
    y = torch.arange(settings.tests) % 2
    wrong = [0, 0]
    for some in y.split(1000):
        drawn = torch.randn(len(some), d, generator=noise, dtype=torch.float64)
        x = ((2 * some - 1)[:, None] * theta + sigma * drawn).view(-1, 1, 1, d)
        found = run(FGSM(), model, x, some, Linf(eps=eps, low=-BOX, high=BOX), seed=seed, batch=len(x))
        wrong = [wrong[0] + int(found.start_wrong.sum()), wrong[1] + int(found.success.sum())]
    forms = standard_error(w, theta, sigma), robust_error(w, theta, sigma, eps)
    rates = [count / settings.tests for count in wrong]
    off = [deviation(rate, form, settings.tests) for rate, form in zip(rates, forms)]
    keys = ("standard", "robust", "standard_form", "robust_form", "standard_off", "robust_off")
    return dict(zip(keys, (*rates, *forms, *off)))


def deviation(rate: float, form: float, n: int) -> float:
    """By how many standard errors a counted rate of n is off the form; the last count that fits is no deviation."""
    return max(abs(rate - form) - 1 / n, 0.0) / math.sqrt(max(form * (1 - form), 1 / n) / n)


class Sign(nn.Module):
    """Logits 0 and <w, x>: class 1 where the product is positive."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 1, D) to (N, 2)."""
        value = x.flatten(1) @ self.w
        return torch.stack([torch.zeros_like(value), value], 1)


def needed(settings: MoreData, d: int, seed: int) -> dict[str, Any]:
    """For each level the n, between whole ones, where the median robust error over many training sets falls below."""
    sigma, theta = settings.sigma(d), torch.ones(d)
    noise = torch.Generator().manual_seed(7919 * seed + d)
    sums = torch.zeros(settings.sets, d)
    course: list[float] = []  # median margin after 1, 2, ... samples
    wanted = max(quantile(level) for level in LEVELS.values())
    while len(course) < MOST and (not course or course[-1] < wanted):
        for one in sums:  # set by set: the noise of all at once is large
            one.add_(torch.randn(d, generator=noise))
        n = len(course) + 1
        w = theta + sigma / n * sums
        margins = (w.sum(1).double() - settings.eps * w.abs().sum(1).double()) / (sigma * w.norm(dim=1).double())
        course.append(float(margins.median()))
    found = {name: crossing(course, quantile(level)) for name, level in LEVELS.items()}
    return {"needed": found, "chance": found[CHANCE], "percent": found[PERCENT], "course": course}


def quantile(level: float) -> float:
    """The margin m with Phi(-m) = level."""
    from scipy.stats import norm

    return float(norm.isf(level))


def crossing(course: Sequence[float], level: float) -> float:
    """Where a course over n = 1, 2, ... first reaches `level`, by a straight line between whole numbers.

    1.0 if it begins there. inf if it never does.
    """
    for place, value in enumerate(course):
        if value >= level:
            before = course[place - 1] if place else value
            return place + (level - before) / (value - before) if value > before else float(place + 1)
    return math.inf


def slope(dimensions: Sequence[int], needs: Sequence[float]) -> float:
    """Of log n against log d, by least squares."""
    return float(np.polyfit(np.log(dimensions), np.log(needs), 1)[0])


def _fitted(bench: Bench, settings: MoreData, needs: Mapping[int, Sequence[Part]], place: int) -> Part:
    """The exponents of one seed, from what its parts found."""
    after = [some[place] for some in needs.values()]

    def work(_: Path) -> Mapping[str, float]:
        keys = ("chance", "percent")
        return {key: slope(settings.dimensions, [part.found[key] for part in after]) for key in keys}

    return bench.part("more-data/exponents", to_plain(settings), work, seed=bench.seeds[place], after=after)


def _rows_of_errors(settings: MoreData, errors: Mapping[int, Sequence[Part]]) -> list[Row]:
    rows = []
    for n, parts in errors.items():
        forms = {
            column: fmean(part.found[f"{key}_form"] for part in parts)
            for column, key in ((STANDARD, "standard"), (ROBUST, "robust"))
        }
        read = {STANDARD: "standard", ROBUST: "robust"}
        name = f"d = {settings.counted}, n = {n}"
        rows.append(row(name, parts, read, published=forms, group=f"{GROUP}: errors"))
    return rows


def _rows_of_needs(settings: MoreData, needs: Mapping[int, Sequence[Part]], slopes: Sequence[Part]) -> list[Row]:
    group = f"{GROUP}: samples needed"
    forms = {
        d: {name: expected_need(d, level, settings.c, settings.eps) for name, level in LEVELS.items()} for d in needs
    }
    read = {CHANCE: "chance", PERCENT: "percent"}
    rows = [row(f"d = {d}", parts, read, published=forms[d], group=group) for d, parts in needs.items()]
    for name, key, level in (("better than chance", "chance", CHANCE), ("1 % robust error", "percent", PERCENT)):
        form = 0.5 if level == CHANCE else slope(settings.dimensions, [forms[d][level] for d in needs])
        rows.append(row(name, slopes, {EXPONENT: key}, published={EXPONENT: form}, group=f"{GROUP}: growth with d"))
    return rows


def _orderings(settings: MoreData, rows: Sequence[Row], errors: Mapping[int, Sequence[Part]]) -> tuple[Ordering, ...]:
    furthest = max(
        part.found[key] for some in errors.values() for part in some for key in ("standard_off", "robust_off")
    )
    first = f"d = {settings.counted}, n = {settings.samples[0]}"
    last = f"d = {settings.counted}, n = {settings.samples[-1]}"
    single = rows[0].ours[STANDARD].mean
    names = [f"d = {d}" for d in reversed(settings.dimensions)]
    return (
        judged(
            "Errors that were counted agree with their closed forms within 4.5 standard errors.",
            furthest < 4.5,
            {"largest deviation in standard errors": furthest},
        ),
        judged(
            "A single sample is enough for an accurate classifier (right with more than 99 %).",
            single < 0.01 if settings.samples[0] == 1 else None,
            {f"{first}, {STANDARD}": single},
        ),
        descending("The same single sample is worse than chance under attack; more samples mend it.", rows,
                   [(first, ROBUST), (last, ROBUST)]),
        descending("The robust classifier's need of samples grows with d.", rows, [(name, CHANCE) for name in names]),
        near("It grows as the square root of d for better than chance (within 0.05).", rows,
             [("better than chance", EXPONENT)], within=0.05),
        near("For 1 % robust error it grows as the closed form says (within 0.05).", rows,
             [("1 % robust error", EXPONENT)], within=0.05),
    )  # fmt: skip


def _plots(
    settings: MoreData, errors: Mapping[int, Sequence[Part]], needs: Mapping[int, Sequence[Part]]
) -> tuple[Plot, Plot]:
    d, c, eps = settings.counted, settings.c, settings.eps
    span = np.geomspace(settings.samples[0], settings.samples[-1], 60).tolist()
    sigma = settings.sigma(d)
    plain: Callable[[float], float] = lambda n: below(math.sqrt(d) / (sigma * math.sqrt(1 + sigma**2 / n)))  # noqa: E731
    shown = [
        Line("standard error", 1, tuple((n, _mean(parts, "standard")) for n, parts in errors.items())),
        Line("robust error", 0, tuple((n, _mean(parts, "robust")) for n, parts in errors.items())),
        Line("large d", 1, tuple((n, plain(n)) for n in span), dashed=True),
        Line("large d", 0, tuple((n, below(expected_margin(d, n, c, eps))) for n in span), dashed=True),
    ]
    title = f"Error against training samples, d = {d}"
    svg = lines(shown, title=title, x_label="training samples n", log_x=True, percent=True)
    grown = [
        Line(name, style, tuple((k, _mean(parts, key)) for k, parts in needs.items()))
        for style, (name, key) in enumerate(((CHANCE, "chance"), (PERCENT, "percent")))
    ]
    grown += [
        Line(f"{name}, form", style, tuple((k, expected_need(k, level, c, eps)) for k in needs), dashed=True)
        for style, (name, level) in enumerate(LEVELS.items())
    ]
    across = lines(grown, title="Samples needed against dimension", x_label="dimension d", log_x=True, log_y=True)
    theory = "Dashed: the closed form for large d, norms and products at their means."
    return (
        Plot(title, svg, theory, (("standard", 1), ("robust", 0)), GROUP),
        Plot("Samples needed against dimension", across, theory, ((CHANCE, 0), (PERCENT, 1)), GROUP),
    )


def _mean(parts: Sequence[Part], key: str) -> float:
    return fmean(part.found[key] for part in parts)


def _notes() -> tuple[str, ...]:
    return (
        "More data: the theorems are stated for eps up to 1/4. The closed forms hold for any eps; at 1/2 the square "
        "root shows at dimensions that fit on a laptop.",
        "More data: for 1 % robust error the exponent comes to 1/2 only in the limit: at finite d the noise of the "
        "inputs themselves has its share, which falls as d grows.",
    )
