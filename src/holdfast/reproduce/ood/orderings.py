"""What OpenOOD's figures for CIFAR-10 show, and that unfamiliar pictures can be told at all, judged by ours."""

from collections.abc import Sequence

from holdfast.reproduce.ood.measuring import named
from holdfast.reproduce.ood.settings import AUROC, COLOUR, GREY, OPEN, SCORES, Pair
from holdfast.reproduce.table import Ordering, Row, below, judged, mean_of
from holdfast.uncertainty.scores import GEN, Energy, MaxProbability, Nearest, ReAct, ViM

CHANCE = "Every score does better than chance: MNIST against Fashion-MNIST."
HARDER = "Near sets are harder than far ones by {}: classes held out against {}."
FAR_FRONT = "On far sets nearest neighbours and ViM are in front of the maximum probability: {}."
NEAR_FRONT = "On near sets nearest neighbours, ViM and GEN are in front of the maximum probability: classes held out."
NEAR_BEHIND = "On near sets the maximum probability is in front of energy and ReAct: classes held out."


def orderings(rows: Sequence[Row], pairs: Sequence[Pair]) -> tuple[Ordering, ...]:
    """Sentence by sentence; `pairs` are all, measured or not."""
    grey, near = (next(pair.name for pair in pairs if pair.network == one) for one in (GREY, OPEN))
    far = [pair.name for pair in pairs if pair.network == COLOUR]
    found = {named(grey, score.name): mean_of(rows, named(grey, score.name), AUROC) for score in SCORES}

    def cells(pair: str, *names: str) -> list[tuple[str, str]]:
        return [(named(pair, name), AUROC) for name in names]

    first = cells(near, MaxProbability.name)
    return (
        judged(CHANCE, min(found.values()) > 0.5, found),
        *(
            below(HARDER.format(name, pair), rows, cells(near, name), cells(pair, name))
            for pair in far
            for name in (MaxProbability.name, Nearest.name)
        ),
        *(
            below(FAR_FRONT.format(pair), rows, cells(pair, MaxProbability.name), cells(pair, Nearest.name, ViM.name))
            for pair in far
        ),
        below(NEAR_FRONT, rows, first, cells(near, Nearest.name, ViM.name, GEN.name)),
        below(NEAR_BEHIND, rows, cells(near, Energy.name, ReAct.name), first),
    )
