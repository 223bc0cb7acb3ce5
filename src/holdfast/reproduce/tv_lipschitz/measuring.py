"""The columns of the talk's tables, for one network: errors under attack, distances, time, slopes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from holdfast.attacks import CW, FMN, IFGSM, PGD
from holdfast.data import Pictures
from holdfast.evaluate import Evaluation
from holdfast.evaluate.statistics import Rate
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.tv_lipschitz import settings as of
from holdfast.reproduce.tv_lipschitz.settings import Settings
from holdfast.threats import L2, Linf
from holdfast.train import slopes_of

NEAR, GREY, FAR = 0.1, 8 / 255, 1.5  # radii of the tables: L2, Linf, and L2 for Carlini & Wagner's attack
WAY = 200  # steps of the walk at most


def measured(
    bench: Bench, folder: Path, model: nn.Module, test: Pictures, settings: Settings, seed: int
) -> Mapping[str, Any]:
    """All columns; the evaluations lie in the part's folder."""

    def under(name: str, threat: L2 | Linf, attack: Any, eps: float, pictures: Pictures = test) -> Evaluation:
        return networks.attacked(bench, folder, model, pictures, threat, attack, [eps], name=name, seed=seed)

    half = settings.steps // 2
    climb = PGD(steps=half, step_size=max(0.1, 2.5 / half))
    near = under("fmn-l2", L2(eps=FAR), FMN(steps=settings.steps), FAR)
    box = under("fmn-linf", Linf(eps=GREY), FMN(steps=settings.steps), GREY)
    linf, l2 = under("pgd-linf", Linf(eps=GREY), climb, GREY), under("pgd-l2", L2(eps=100 / 255), climb, 100 / 255)
    few = test.take(slice(0, settings.carried))
    carried = under("cw", L2(eps=FAR), CW(steps=settings.steps, searches=4, first_c=0.1), FAR, few)
    signed = under("i-fgsm", Linf(eps=GREY), IFGSM(steps=half), GREY)
    walk = PGD(steps=WAY, step_size=1 / WAY, random_start=False)
    walked = under("walk", L2(eps=WAY * settings.walk), walk, WAY * settings.walk)
    distances = near.records["smallest"]
    return {
        of.ERROR: missed(near.clean),
        of.ERROR_L2: float((distances <= NEAR).double().mean()),
        of.ERROR_LINF: missed(linf.robust),
        of.L2_DISTANCE: median(distances),
        of.LINF_DISTANCE: median(box.records["smallest"]),
        of.TIME: median(steps(walked)),
        of.PGD_L2: missed(l2.robust),
        of.CW_L2: float((carried.records["smallest"] <= FAR).double().mean()),
        of.IFGSM_LINF: missed(signed.robust),
        **slopes(model, test),
    }


def missed(right: Rate) -> float:
    """The share that is not right."""
    return (right.n - right.k) / right.n


def median(values: Tensor) -> float:
    """The middle one over all pictures, those that are wrong from the start counting 0; the upper of two."""
    ranked = values.double().sort().values
    return float(ranked[len(ranked) // 2])


def steps(walked: Evaluation) -> Tensor:
    """How many it took to change a picture's class, (n,); `WAY` where so many did not, 0 if it was wrong before."""
    records = walked.records
    wrong = records["prediction"] != records["label"]
    # One look at each point, the first of them at the picture itself.
    taken = (records["queries"][-1] - 1).clamp(min=0, max=WAY)
    return taken.where(records["success"][-1], WAY).masked_fill(wrong, 0)


def slopes(model: nn.Module, test: Pictures) -> dict[str, float]:
    """Mean and largest length of the gradients of the loss, and of the probability that is steepest."""
    found = slopes_of(model, test).summary()
    return {
        of.MEAN_LOSS: found["loss"][0],
        of.MAX_LOSS: found["loss"][1],
        of.MEAN_F: found["probabilities"][0],
        of.MAX_F: found["probabilities"][1],
    }
