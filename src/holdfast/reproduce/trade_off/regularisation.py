"""Too much regularisation: accuracy, robustness, slopes and input gradients as its weight grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.drawing.charts import Line, lines
from holdfast.drawing.pictures import rows_of_pictures
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, falling, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.gradients import ALIGNED, COLUMNS, looked_at, picture_rows
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.threats import L2
from holdfast.train import Lipschitz, TotalVariation, slopes_of
from holdfast.train.step import Penalty

GROUP = "S7 over-regularisation"
NATURAL, MEAN, LARGEST = "natural accuracy", "mean slope", "largest slope"

Weights = tuple[float, float]
"""Of the total variation and of the Lipschitz term."""


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """Training with E[l + eps ||grad l||_2] + lambda max ||grad l||_2, by finite differences, up to far too much.

    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, and a picture of a talk on it that shows too much.
    """

    tv: tuple[float, ...] = option((0.1, 0.3, 1.0, 3.0, 10.0), "weights eps of the total variation, from moderate up")
    lipschitz: tuple[float, ...] = option((1.0, 10.0), "weights lambda, each beside the first of `tv`")
    width: float = option(1.0, "of the cnn")
    epochs: int = option(6, "of every training")
    eps: float = option(1.0, "radius in L2 of the test")

    def __post_init__(self) -> None:
        for name in ("tv", "lipschitz"):
            values = getattr(self, name)
            if len(values) < 2 or list(values) != sorted(set(values)) or values[0] <= 0:
                raise OptionError(f"Regularisation: {name}={values!r}; allowed: two or more above 0, in order.")

    def weights(self) -> list[Weights]:
        """Of all rows: none, the total variation alone, the Lipschitz term beside the least of it."""
        return [(0.0, 0.0), *((tv, 0.0) for tv in self.tv), *((self.tv[0], weight) for weight in self.lipschitz)]


def named(weights: Weights) -> str:
    """The name of a row."""
    tv, lipschitz = weights
    if not tv:
        return "unregularised"
    return f"TV {tv:g}" + (f" + Lipschitz {lipschitz:g}" if lipschitz else "")


def penalties(weights: Weights) -> tuple[Penalty, ...]:
    """Those of a row."""
    tv, lipschitz = weights
    found: list[Penalty] = [TotalVariation(eps=tv)] if tv else []
    return (*found, Lipschitz(weight=lipschitz)) if lipschitz else tuple(found)


def robust(settings: Regularisation) -> str:
    """The column of accuracy under attack."""
    return f"robust accuracy, L2 {settings.eps:g}"


def measure(bench: Bench, ground: Ground, settings: Regularisation) -> Table:
    """Every weight for every seed."""
    parts = {weights: _learnt(bench, ground, settings, weights) for weights in settings.weights()}
    columns = [NATURAL, robust(settings), MEAN, LARGEST, ALIGNED]
    rows = [row(named(weights), some, columns, group=GROUP) for weights, some in parts.items()]
    about = f"share right before and after PGD of {ground.test_steps} steps within {settings.eps:g} in L2"
    listed = (
        Column(NATURAL),
        Column(robust(settings), about=about),
        Column(MEAN, "nats a unit", "mean ||grad l||_2 over the test pictures"),
        Column(LARGEST, "nats a unit", "largest ||grad l||_2 over the test pictures"),
        COLUMNS[0],
    )
    plots = (*_plots(settings, parts), _pictures(bench, ground, parts))
    notes = networks.idle_note(part for some in parts.values() for part in some)
    return Table(listed, tuple(rows), _orderings(settings, rows), plots, notes)


def _learnt(bench: Bench, ground: Ground, settings: Regularisation, weights: Weights) -> list[Part]:
    learnt, shown = shared.training(bench, ground), shared.testing(bench, ground)
    card = shared.card_of(learnt, settings.width)
    chosen = shared.recipe(ground, penalties=penalties(weights), epochs=settings.epochs)
    judge = ground.judge()

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        model = networks.learn(bench, folder, card, learnt, chosen, seed).model
        held = networks.held(bench, folder, model, shown, L2(eps=settings.eps), judge, [settings.eps], name="pgd")
        mean, largest = slopes_of(model, shown).summary()["loss"]
        rates = {NATURAL: held.natural, robust(settings): held.robust[0], "idle": held.idle}
        return {**rates, MEAN: mean, LARGEST: largest, **looked_at(model, shown)}

    asked = networks.settings(chosen, card, learnt, shown, judge=to_plain(judge), eps=settings.eps)
    return bench.each_seed(f"regularisation/tv-{weights[0]:g}-lipschitz-{weights[1]:g}", asked, work)


def _orderings(settings: Regularisation, rows: Sequence[Row]) -> tuple[Ordering, ...]:
    none, first = named((0.0, 0.0)), (settings.tv[0], 0.0)
    moderate, most = named(first), named((settings.tv[-1], 0.0))
    by_lambda = [named(first), *(named((settings.tv[0], weight)) for weight in settings.lipschitz)]
    by_tv = [named((tv, 0.0)) for tv in (0.0, *settings.tv)]
    column = robust(settings)
    best = _best(rows, by_tv, column)
    return (
        falling("Moderate total variation lowers the mean slope.", rows, MEAN, [none, moderate]),
        falling("It lowers the largest slope too.", rows, LARGEST, [none, moderate]),
        falling("It makes the network more robust.", rows, column, [moderate, none]),
        falling("It costs no accuracy (half a percent at most).", rows, NATURAL, [moderate, none], by=-0.005),
        falling("Too much of it does cost accuracy.", rows, NATURAL, [none, most]),
        falling("The mean slope falls with the weight of the total variation.", rows, MEAN, by_tv),
        falling("A heavier Lipschitz term lowers the largest slope.", rows, LARGEST, [by_lambda[0], by_lambda[-1]]),
        falling("Too heavy, it costs accuracy.", rows, NATURAL, [by_lambda[0], by_lambda[-1]]),
        falling(
            "Small slopes go with robustness, but not at any price: with far too much of it, robust accuracy is below "
            "the best.",
            rows,
            column,
            [best, most],
        ),
    )


def _best(rows: Sequence[Row], names: Sequence[str], column: str) -> str:
    """The row with the highest mean in a column."""
    return max((one for one in rows if one.name in names), key=lambda one: one.ours[column].mean).name


def _plots(settings: Regularisation, parts: Mapping[Weights, Sequence[Part]]) -> list[Plot]:
    """Accuracies and slopes against the weight of the total variation, and of the Lipschitz term."""
    families = (
        ("total variation", {tv: parts[tv, 0.0] for tv in settings.tv}),
        ("Lipschitz term", {weight: parts[settings.tv[0], weight] for weight in settings.lipschitz}),
    )
    rates = (("natural", NATURAL), ("robust", robust(settings)))
    slopes = (("mean", MEAN), ("largest", LARGEST))
    found = []
    for family, some in families:
        for what, shown, percent in (("Accuracy", rates, True), ("Slopes", slopes, False)):
            drawn = [_line(name, n, column, some) for n, (name, column) in enumerate(shown)]
            start = parts[0.0, 0.0]
            drawn += [_level(name, n, column, start, some) for n, (name, column) in enumerate(shown)]
            title = f"{what} against the weight of the {family}"
            svg = lines(drawn, title=title, x_label="weight", log_x=True, log_y=not percent, percent=percent)
            legend = tuple((name, n) for n, (name, _) in enumerate(shown))
            found.append(Plot(title, svg, "Dashed: unregularised.", legend, GROUP))
    return found


def _line(name: str, style: int, column: str, some: Mapping[float, Sequence[Part]]) -> Line:
    return Line(name, style, tuple((weight, mean_over(parts, column)) for weight, parts in some.items()))


def _level(name: str, style: int, column: str, start: Sequence[Part], some: Mapping[float, Any]) -> Line:
    level = mean_over(start, column)
    return Line(f"{name}, unregularised", style, ((min(some), level), (max(some), level)), dashed=True)


def _pictures(bench: Bench, ground: Ground, parts: Mapping[Weights, Sequence[Part]]) -> Plot:
    shown = shared.testing(bench, ground)
    rows = {short_name(weights): some[0].found["shown"] for weights, some in parts.items()}
    title = "Input gradients as regularisation grows"
    svg = rows_of_pictures(picture_rows(shown, rows), (), title=title)
    caption = "The first seed and the first test pictures; each gradient in units of its own standard deviation."
    return Plot(title, svg, caption, (), GROUP)


def short_name(weights: Weights) -> str:
    """The name of a row as there is room for beside pictures."""
    tv, lipschitz = weights
    if lipschitz:
        return f"+ Lip. {lipschitz:g}"
    return f"TV {tv:g}" if tv else "none"
