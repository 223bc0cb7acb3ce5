"""No free lunch: many weak features make an accurate classifier, and an adversary turns them all against it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks import FGSM, run
from holdfast.drawing.charts import bars
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over, slug
from holdfast.reproduce.plots import bar_of, legend
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, descending, falling, judged, mean_of, row
from holdfast.reproduce.toys.fit import fit
from holdfast.reproduce.toys.linear import Linear
from holdfast.threats import Linf

GROUP = "S4 no free lunch"
STANDARD, ROBUST, BOUND = "standard accuracy", "robust accuracy", "bound on robust accuracy"
AVERAGE, STRONG, BEST = "average of the weak features", "strong feature alone", "best weighting"
PLAIN, HARDENED = "trained", "trained adversarially"
BOX = 1e3  # the inputs have no bounds; an attack wants some


@dataclass(frozen=True, kw_only=True)
class NoFreeLunch:
    """A strong feature that equals the label with probability p, and d weak ones, each N(eta y, 1).

    With eta = strength / sqrt(d). The adversary moves every feature by up to eps = 2 eta.
    Source: Tsipras et al. 2019, arXiv:1805.12152, sec. 2.1 and theorem 2.1.
    """

    d: int = option(100, "weak features")
    p: float = option(0.95, "how often the strong feature is right")
    strength: float = option(3.0, "eta, in units of 1 / sqrt(d)")
    pictures: int = option(4000, "inputs that are trained on")
    tests: int = option(100_000, "fresh inputs")
    steps: int = option(300, "of training, each on all inputs")
    rate: float = option(0.05, "of Adam at the beginning")

    def __post_init__(self) -> None:
        if not (0.5 < self.p < 1 and self.d >= 1 and self.strength > 0 and 2 * self.eta < 1):
            raise OptionError(
                f"{self!r}: allowed: 0.5 < p < 1, strength > 0, and 2 strength / sqrt(d) < 1, for else the strong "
                "feature can be turned over too. Raise d, or lower strength."
            )

    @property
    def eta(self) -> float:
        """The mean of a weak feature."""
        return self.strength / math.sqrt(self.d)


def measure(bench: Bench, settings: NoFreeLunch) -> Table:
    """Five linear classifiers, counted on fresh inputs as they are and moved by FGSM, which is exact for them."""
    parts = {name: _parts(bench, settings, name, made) for name, made in CLASSIFIERS.items()}
    read, forms = {STANDARD: "standard", ROBUST: "robust", BOUND: "bound"}, _on_paper(settings)
    rows = [row(name, some, read, published=forms[name], group=GROUP) for name, some in parts.items()]
    columns = (
        Column(
            STANDARD,
            about="on fresh inputs; for what was trained, the closed form is that of the best weights there are",
        ),
        Column(ROBUST, about=f"when each feature may move by 2 eta = {2 * settings.eta:g}"),
        Column(BOUND, about="p / (1 - p) times the standard error: no classifier of this accuracy is more robust"),
    )
    return Table(columns, tuple(rows), _orderings(rows, parts, settings), (_plot(rows),))


def _parts(bench: Bench, settings: NoFreeLunch, name: str, made: Callable[[NoFreeLunch, int], Tensor]) -> list[Part]:
    asked = to_plain(settings)
    return bench.each_seed(
        f"no-free-lunch/{slug(name)}", asked, lambda seed, _: counted(made(settings, seed), settings, seed)
    )


def _on_paper(settings: NoFreeLunch) -> dict[str, dict[str, float | None]]:
    """For each classifier what its weights come to, or those that its training looks for."""
    found: dict[str, dict[str, float | None]] = {}
    for name, weights in ((AVERAGE, average(settings)), (STRONG, strong(settings)), (BEST, best(settings))):
        standard, robust = accuracies(weights, settings)
        found[name] = {STANDARD: standard, ROBUST: robust, BOUND: bound(standard, settings.p)}
    found[PLAIN] = {column: found[BEST][column] for column in (STANDARD, ROBUST)}
    found[HARDENED] = {STANDARD: settings.p, ROBUST: settings.p}
    return found


def accuracies(weight: Tensor, settings: NoFreeLunch, eps: float | None = None) -> tuple[float, float]:
    """The closed forms for sign <w, x>, weights (1 + d,) with the strong feature's first: standard, and within eps.

    y <w, x> is w_1 or -w_1, with probabilities p and 1 - p, plus a normal number of mean eta sum w_i and variance
    sum w_i^2 over the weak features; the adversary takes eps ||w||_1 from it. A margin of 0 counts as wrong.
    """
    eps = 2 * settings.eta if eps is None else eps
    first, rest = float(weight[0]), weight[1:].double()
    mean, scale = settings.eta * float(rest.sum()), float(rest.norm())
    lost = eps * float(weight.double().abs().sum())
    found = []
    for less in (0.0, lost):
        right = ((settings.p, first + mean - less), (1 - settings.p, -first + mean - less))
        found.append(sum(chance * above(margin, scale) for chance, margin in right))
    return found[0], found[1]


def above(mean: float, scale: float) -> float:
    """P(N(mean, scale^2) > 0)."""
    if scale == 0:
        return float(mean > 0)
    return 0.5 * math.erfc(-mean / (scale * math.sqrt(2)))


def bound(standard: float, p: float) -> float:
    """A classifier with standard accuracy 1 - delta has at most delta p / (1 - p) within 2 eta (and at most 1)."""
    return min((1 - standard) * p / (1 - p), 1.0)


def average(settings: NoFreeLunch, seed: int = 0) -> Tensor:
    """The mean of the weak features; the strong one is left out."""
    return torch.cat([torch.zeros(1), torch.full((settings.d,), 1 / settings.d)]).double()


def strong(settings: NoFreeLunch, seed: int = 0) -> Tensor:
    """The strong feature and nothing else."""
    return torch.cat([torch.ones(1), torch.zeros(settings.d)]).double()


def best(settings: NoFreeLunch, seed: int = 0) -> Tensor:
    """Half the log-likelihood ratio, which no classifier can beat on inputs as they are."""
    first = 0.5 * math.log(settings.p / (1 - settings.p))
    return torch.cat([torch.tensor([first]), torch.full((settings.d,), settings.eta)]).double()


def trained(settings: NoFreeLunch, seed: int) -> Tensor:
    """By the logistic loss on inputs of the distribution."""
    return _fitted(settings, seed, None)


def trained_adversarially(settings: NoFreeLunch, seed: int) -> Tensor:
    """The same, every step at what FGSM makes of the inputs."""
    return _fitted(settings, seed, Linf(eps=2 * settings.eta, low=-BOX, high=BOX))


CLASSIFIERS = {AVERAGE: average, STRONG: strong, BEST: best, PLAIN: trained, HARDENED: trained_adversarially}


def _fitted(settings: NoFreeLunch, seed: int, threat: Linf | None) -> Tensor:
    x, y = inputs(settings, 2 * seed, settings.pictures)
    model = Linear(torch.zeros(1 + settings.d, dtype=torch.float64), balanced=True)
    attack = None if threat is None else FGSM()
    fit(model, x, y, steps=settings.steps, rate=settings.rate, threat=threat, attack=attack, seed=seed)
    return model.w.detach()


def inputs(settings: NoFreeLunch, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 1 + d) float64, the strong feature first, and labels (N,) int64, 1 for y = +1."""
    noise = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (count, 1), generator=noise).double() * 2 - 1
    agrees = torch.rand(count, 1, generator=noise, dtype=torch.float64) < settings.p
    weak = settings.eta * y + torch.randn(count, settings.d, generator=noise, dtype=torch.float64)
    x = torch.cat([torch.where(agrees, y, -y), weak], 1)
    return x.view(count, 1, 1, -1), (y[:, 0] > 0).long()


def counted(weight: Tensor, settings: NoFreeLunch, seed: int) -> dict[str, Any]:
    """Accuracies on fresh inputs, the closed forms for these weights, and the theorem's bound at the counted one."""
    eps, right = 2 * settings.eta, [0, 0]
    x, y = inputs(settings, 2 * seed + 1, settings.tests)
    model = Linear(weight, balanced=True)
    for some, labels in zip(x.split(10_000), y.split(10_000)):
        threat = Linf(eps=eps, low=-BOX, high=BOX)
        found = run(FGSM(), model, some, labels, threat, seed=seed, batch=len(some))
        right = [right[0] + int((~found.start_wrong).sum()), right[1] + int((~found.success).sum())]
    standard, robust = (count / settings.tests for count in right)
    forms = accuracies(weight, settings)
    error = [math.sqrt(max(f * (1 - f), 1 / settings.tests) / settings.tests) for f in forms]
    return {
        "standard": standard,
        "robust": robust,
        "bound": bound(standard, settings.p),
        "forms": list(forms),
        "off": max(abs(rate - form) / e for rate, form, e in zip((standard, robust), forms, error)),
        "slack": error[1] + error[0] * settings.p / (1 - settings.p),
        "strong_weight": float(weight[0].abs() / weight.abs().sum()),
    }


def _orderings(rows: Sequence[Row], parts: Mapping[str, Sequence[Part]], settings: NoFreeLunch) -> tuple[Ordering, ...]:
    sentence = "The weak features together are right with more than 99 %."
    weak = mean_of(rows, AVERAGE, STANDARD)
    return (
        *_within_error([part for some in parts.values() for part in some]),
        judged(sentence, weak > 0.99, {f"{AVERAGE}, {STANDARD}": weak}),
        descending(
            "What is more accurate is less robust: the strong feature alone loses accuracy and keeps it under attack.",
            rows,
            [(AVERAGE, STANDARD), (STRONG, STANDARD), (AVERAGE, ROBUST)],
        ),
        falling("Adversarial training costs standard accuracy.", rows, STANDARD, (PLAIN, HARDENED)),
        falling("Adversarial training brings robust accuracy.", rows, ROBUST, (HARDENED, PLAIN)),
        _features(parts, settings),
    )


def _within_error(parts: Sequence[Part]) -> tuple[Ordering, Ordering]:
    """What holds for every classifier, up to the error of counting."""
    furthest = max(part.found["off"] for part in parts)
    excess = max((part.found["robust"] - part.found["bound"]) / part.found["slack"] for part in parts)
    return (
        judged(
            "Accuracies that were counted agree with the closed forms for their weights within 4.5 standard errors.",
            furthest < 4.5,
            {"largest deviation in standard errors": furthest},
        ),
        judged(
            "No classifier is more robust than p / (1 - p) times its standard error (up to sampling error).",
            excess < 4.5,
            {"largest excess in standard errors": excess},
        ),
    )


def _features(parts: Mapping[str, Sequence[Part]], settings: NoFreeLunch) -> Ordering:
    """How much of the weight lies on the strong feature."""
    share = {name: mean_over(parts[name], "strong_weight") for name in (HARDENED, PLAIN)}
    numbers = {f"{name}, share of the strong feature's weight": value for name, value in share.items()}
    return judged(
        "Standard training uses all features, adversarial training the strong one alone (99 % of the weight).",
        share[PLAIN] < 0.5 and share[HARDENED] > 0.99,
        {**numbers, "share if all weighed alike": 1 / (1 + settings.d)},
    )


def _plot(rows: Sequence[Row]) -> Plot:
    short = {AVERAGE: "average", STRONG: "strong", BEST: "best", PLAIN: "trained", HARDENED: "adversarial"}
    title = "Standard and robust accuracy"
    series = [bar_of(rows, list(short), column, style) for style, column in ((1, STANDARD), (0, ROBUST))]
    return Plot(title, bars(series, list(short.values()), title=title, percent=True), "", legend(series), GROUP)
