"""What adversarial training costs: seconds and passes against inner steps, as multiples of plain training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from holdfast.data import Pictures
from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.models import Card
from holdfast.options import option
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over
from holdfast.reproduce.plots import legend
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, falling, judged, mean_of, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, train

GROUP = "S5 cost of inner steps"
SECONDS, TIMES, PASSES = "time, of plain training's", "passes, of plain training's", "passes a picture"
PER_THOUSAND = "seconds a thousand pictures"
WEEK = 7 * 24 / 12  # the source's example for 20 inner steps: from twelve hours to a week
ASKED = 20


@dataclass(frozen=True, kw_only=True)
class InnerSteps:
    """Epochs of PGD training with several numbers of inner steps, and plain ones between them, on the same pictures.

    Rounds go through all in turn; the least time of each counts, as other work on the machine only ever adds.
    Raises: `OptionError` for steps out of order or below 1.
    """

    steps: tuple[int, ...] = option((1, 2, 5, 10, 20), "of the inner attack")
    width: float = option(1.0, "of the cnn")
    eps: float = option(0.1, "radius in Linf")
    pictures: int = option(2000, "training pictures of an epoch")
    rounds: int = option(3, "epochs of each, of which the fastest counts")

    def __post_init__(self) -> None:
        if len(self.steps) < 2 or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise OptionError(f"InnerSteps: steps={self.steps!r}; allowed: two or more in order, such as 1,5,20.")
        if min(self.pictures, self.rounds) < 1:
            raise OptionError(f"{self!r}: allowed: at least one picture and one round. Leave them as they are.")


def named(steps: int) -> str:
    """The name of a row; 0 is plain training."""
    return f"{steps} inner step{'s' if steps > 1 else ''}" if steps else "plain training"


def measure(bench: Bench, ground: Ground, settings: InnerSteps) -> Table:
    """All of them side by side in one part, so that multiples are of one machine at one time."""
    pictures = shared.training(bench, ground, settings.pictures)
    card = shared.card_of(pictures, settings.width)
    recipes = {count: recipe(ground, settings, count) for count in (0, *settings.steps)}
    attacks = [one.plain()["adversary"] for one in recipes.values()]
    asked = networks.settings(recipes[0], card, pictures, rounds=settings.rounds, eps=settings.eps, attacks=attacks)

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        return side_by_side(bench, card, pictures, recipes, settings.rounds, seed)

    parts = bench.each_seed("inner-steps", asked, work)
    rows = []
    for count in recipes:
        read = {column: f"{named(count)}, {column}" for column in (SECONDS, TIMES, PASSES, PER_THOUSAND)}
        published = {SECONDS: WEEK} if count == ASKED else None
        rows.append(row(named(count), parts, read, published=published, group=GROUP))
    order = [named(count) for count in reversed(recipes)]
    orderings = (
        falling("Every further inner step makes training slower.", rows, SECONDS, order),
        _tenfold(settings, rows),
    )
    columns = (
        Column(SECONDS, "times", "the least seconds of an epoch over the least of plain training's, in the same run"),
        Column(TIMES, "times", "forward and backward passes of a picture, counted, over those of plain training"),
        Column(PASSES, "forward and backward", "counted at the network"),
        Column(PER_THOUSAND, "s", "the least of the rounds"),
    )
    return Table(columns, tuple(rows), orderings, (_plot(settings, parts),), _notes())


def recipe(ground: Ground, settings: InnerSteps, count: int) -> Recipe:
    """An epoch with so many inner steps, 0 for plain training."""
    adversary = Adversary(ground.inner(count), Linf(eps=settings.eps)) if count else None
    return Recipe(options=TrainOptions(epochs=1, batch=ground.batch, attacked=0), adversary=adversary)


def side_by_side(
    bench: Bench, card: Card, pictures: Pictures, recipes: Mapping[int, Recipe], rounds: int, seed: int
) -> dict[str, float]:
    """For each recipe by its number of steps: least seconds, passes a picture, and both over those of 0."""
    seconds: dict[int, list[float]] = {count: [] for count in recipes}
    passes = {}
    _epoch(bench, card, pictures, recipes[0], seed)  # the first of all pays for what is loaded and compiled
    for turn in range(rounds):
        for count, chosen in recipes.items():
            bench.progress(turn, rounds, f"timing {named(count)}")
            taken, passes[count] = _epoch(bench, card, pictures, chosen, seed)
            seconds[count].append(taken)
    least = {count: min(some) for count, some in seconds.items()}
    found: dict[str, float] = {}
    for count in recipes:
        values = {
            SECONDS: least[count] / least[0],
            TIMES: passes[count] / passes[0],
            PASSES: passes[count],
            PER_THOUSAND: 1000 * least[count] / len(pictures),
        }
        found |= {f"{named(count)}, {column}": value for column, value in values.items()}
    return found


def _epoch(bench: Bench, card: Card, pictures: Pictures, chosen: Recipe, seed: int) -> tuple[float, float]:
    """Seconds and passes a picture, forward and backward ones together, of an epoch of a fresh network."""
    model = card.build(seed).to(bench.device)
    waited(bench.device)
    begun = perf_counter()
    history = train(model, pictures, recipe=chosen, seed=seed).history
    waited(bench.device)
    passes = history[-1].passes
    assert passes is not None
    return perf_counter() - begun, sum(passes)


def waited(device: str) -> None:
    """Until a GPU has done what it was asked for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _tenfold(settings: InnerSteps, rows: Sequence[Row]) -> Ordering:
    """The source's example is fourteenfold; ten leaves room for what plain training has beside its passes."""
    sentence = "Twenty inner steps, the usual practice, make training more than ten times as expensive."
    if ASKED not in settings.steps:
        return judged(sentence, None, {f"{named(ASKED)}, {SECONDS}": None})
    times = mean_of(rows, named(ASKED), SECONDS)
    return judged(sentence, times > 10, {f"{named(ASKED)}, {SECONDS}": times})


def _plot(settings: InnerSteps, parts: Sequence[Part]) -> Plot:
    shown = (("time", SECONDS, False), ("passes", TIMES, True))
    drawn = []
    for style, (name, column, dashed) in enumerate(shown):
        means = {count: mean_over(parts, f"{named(count)}, {column}") for count in (0, *settings.steps)}
        drawn.append(Line(name, style, tuple(means.items()), dashed))
    title = "Cost as multiples of plain training"
    svg = lines(drawn, title=title, x_label="inner steps")
    caption = "Dashed: passes, which are 1 + inner steps."
    return Plot(title, svg, caption, legend(drawn), GROUP)


def _notes() -> tuple[str, ...]:
    return (
        "Cost: what stands beside 20 inner steps as published is the source's example, 'from say 12 hours to a week', "
        "and no measurement.",
    )
