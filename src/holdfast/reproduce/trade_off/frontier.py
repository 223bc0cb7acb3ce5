"""Natural against robust accuracy, over the radius of training and the width of the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, falling, judged, mean_of, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.threats import Linf

GROUP = "D2 natural against robust accuracy"
NATURAL = "natural accuracy"

Networks = Mapping[tuple[float, float], Sequence[Part]]
"""By width and radius of training: a part for every seed."""


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """PGD training of networks of several widths within several radii in Linf; radius 0 is ordinary training.

    Raises: `OptionError` for radii that do not begin with 0, or widths or radii out of order.
    """

    widths: tuple[float, ...] = option((0.25, 1.0), "of the cnn")
    eps: tuple[float, ...] = option((0.0, 0.02, 0.05, 0.1), "radii of training")
    judged_at: tuple[float, ...] = option((0.02, 0.05, 0.1), "radii of the test")
    epochs: int = option(10, "of every training")

    def __post_init__(self) -> None:
        for name in ("widths", "eps", "judged_at"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or len(values) < (1 if name == "judged_at" else 2):
                raise OptionError(f"Frontier: {name}={values!r}; allowed: numbers in order, such as 0.25,1.")
        if self.eps[0] != 0 or self.widths[0] <= 0 or self.judged_at[0] <= 0:
            raise OptionError(
                f"{self!r}: allowed: eps from 0, which is ordinary training, widths and judged_at above 0. "
                "Leave them as they are."
            )


def robust(eps: float) -> str:
    """The column of a radius."""
    return f"robust accuracy at {eps:g}"


def named(width: float, eps: float) -> str:
    """The name of a row."""
    return f"width {width:g}, " + (f"trained at {eps:g}" if eps else "standard")


def networks_of(bench: Bench, ground: Ground, settings: Frontier) -> dict[tuple[float, float], list[Part]]:
    """Train and attack all of them."""
    return {
        (width, eps): _network(bench, ground, settings, width, eps) for width in settings.widths for eps in settings.eps
    }


def _network(bench: Bench, ground: Ground, settings: Frontier, width: float, eps: float) -> list[Part]:
    learnt, shown = shared.training(bench, ground), shared.testing(bench, ground)
    card, chosen = shared.card_of(learnt, width), shared.recipe(ground, eps=eps, epochs=settings.epochs)
    judge, radii = ground.judge(), list(settings.judged_at)

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, learnt, chosen, seed)
        held = networks.held(bench, folder, trained.model, shown, Linf(eps=radii[-1]), judge, radii, name="pgd")
        rates = dict(zip(map(robust, radii), held.robust, strict=True))
        return {NATURAL: held.natural, **rates, "idle": held.idle, "curves": networks.curves(trained)}

    asked = networks.settings(chosen, card, learnt, shown, judge=to_plain(judge), judged_at=radii)
    return bench.each_seed(f"frontier/width-{width:g}/eps-{eps:g}", asked, work)


def table(settings: Frontier, found: Networks) -> Table:
    """Rows, orders and curves of what was found."""
    columns = [NATURAL, *map(robust, settings.judged_at)]
    rows = [row(named(*key), parts, columns, group=GROUP) for key, parts in found.items()]
    about = "share right, and still right after PGD within this radius in Linf or a smaller one"
    listed = (Column(NATURAL), *(Column(robust(eps), about=about) for eps in settings.judged_at))
    return Table(listed, tuple(rows), _orderings(settings, rows), _plots(settings, found), _notes(found))


def _orderings(settings: Frontier, rows: Sequence[Row]) -> tuple[Ordering, ...]:
    most, least, widest = settings.eps[-1], settings.widths[0], settings.widths[-1]
    column = robust(settings.judged_at[-1])
    sentence = "A wider network is more robust after adversarial training."
    return (
        *(order for width in settings.widths for order in _at_width(settings, rows, width)),
        falling(sentence, rows, column, [named(widest, most), named(least, most)]),
        _mitigated(settings, rows),
    )


def _at_width(settings: Frontier, rows: Sequence[Row], width: float) -> tuple[Ordering, Ordering]:
    """What adversarial training costs a network, and what it brings."""
    radii = list(dict.fromkeys((0.0, *settings.eps[-2:])))  # small ones may well gain: they are augmentation too
    told = ", ".join(f"{eps:g}" for eps in radii)
    cost = f"At width {width:g} robustness costs natural accuracy, the more the larger the radius ({told})."
    gain = f"At width {width:g} adversarial training withstands what standard training does not."
    standard, hard = named(width, 0.0), named(width, settings.eps[-1])
    return (
        falling(cost, rows, NATURAL, [named(width, eps) for eps in radii]),
        falling(gain, rows, robust(settings.judged_at[-1]), [hard, standard]),
    )


def _mitigated(settings: Frontier, rows: Sequence[Row]) -> Ordering:
    """The natural accuracy lost between standard training and the largest radius, for the least and the widest."""
    narrow, wide = (
        mean_of(rows, named(width, 0.0), NATURAL) - mean_of(rows, named(width, settings.eps[-1]), NATURAL)
        for width in (settings.widths[0], settings.widths[-1])
    )
    numbers = {f"lost at width {settings.widths[0]:g}": narrow, f"lost at width {settings.widths[-1]:g}": wide}
    return judged("More capacity mitigates the loss of natural accuracy.", narrow > wide, numbers)


def _plots(settings: Frontier, found: Networks) -> tuple[Plot, Plot]:
    top = settings.judged_at[-1]
    legend = tuple((f"width {width:g}", n) for n, width in enumerate(settings.widths))
    title = f"Natural against robust accuracy at {top:g}"
    curves, courses = [], []
    for n, width in enumerate(settings.widths):
        some = {eps: found[width, eps] for eps in settings.eps}
        places = sorted((mean_over(parts, robust(top)), mean_over(parts, NATURAL)) for parts in some.values())
        curves.append(Line(f"width {width:g}", n, tuple(places)))
        courses.append(Line(f"width {width:g}, natural", n, _course(some, NATURAL), dashed=True))
        courses.append(Line(f"width {width:g}, robust", n, _course(some, robust(top))))
    across = lines(curves, title=title, x_label=f"robust accuracy at {top:g}", percent=True, zero=False)
    along = "Accuracy against the radius of training"
    over = lines(courses, title=along, x_label="radius of training", percent=True, y_from=(1.0,))
    radii = ", ".join(f"{eps:g}" for eps in settings.eps)
    return (
        Plot(title, across, f"Upwards natural accuracy. A mark for each radius of training: {radii}.", legend, GROUP),
        Plot(along, over, f"Dashed: natural accuracy; with marks: robust accuracy at {top:g}.", legend, GROUP),
    )


def _course(some: Mapping[float, Sequence[Part]], key: str) -> tuple[tuple[float, float], ...]:
    return tuple((eps, mean_over(parts, key)) for eps, parts in some.items())


def _notes(found: Networks) -> tuple[str, ...]:
    return (
        "Robust accuracies come from PGD alone and are upper bounds; `holdfast evaluate --suite standard` is stricter.",
        *networks.idle_note(part for some in found.values() for part in some),
    )
