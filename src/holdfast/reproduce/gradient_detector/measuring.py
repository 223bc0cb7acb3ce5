"""The network with its threshold, and each attack on it, as parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from holdfast import detect
from holdfast.attacks import Attack
from holdfast.detect import Fitted, GradientNorm
from holdfast.errors import DataError
from holdfast.evaluate.detection_measures import median
from holdfast.evaluate.judge import Found, Judge
from holdfast.models import Card
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.gradient_detector.settings import (
    ACCURACY,
    ALL_STEPS,
    CLEAN,
    FLAGGED,
    FOUND,
    LEAST_PGD,
    NORM,
    SIZE,
    SLOPES,
    Ground,
    Settings,
)
from holdfast.reproduce.networks import Sets
from holdfast.reproduce.part import Part
from holdfast.threats import L2
from holdfast.train import card_for

NORMS, NORMS_ALL_STEPS = "log norms", "log norms, all steps"
BATCH = 250


@dataclass(frozen=True)
class Work:
    """What all parts work with. Of `sets` the validation pictures give the threshold."""

    bench: Bench
    settings: Settings
    on: Ground
    sets: Sets
    card: Card

    @property
    def asked(self) -> dict[str, Any]:
        """All that decides what a part finds, but for its seed and attack."""
        sets = self.sets
        found = networks.settings(self.settings.recipe(), self.card, sets.training, sets.validation, sets.test)
        return {**found, "false_alarms": self.settings.false_alarms}

    def fitted(self, model: nn.Module, slope: str = "double-backward") -> Fitted:
        """The detector beside the network, with its threshold from clean pictures held out."""
        made = detect.detector(GradientNorm.name, {"slope": slope})
        rate = self.settings.false_alarms
        return detect.fit(made, model, self.sets.training, self.sets.validation, false_alarms=rate, batch=BATCH)

    def judge(self, model: nn.Module, slope: str, seed: int) -> Judge:
        """The guarded network and the pictures that are attacked."""
        shown = self.sets.test.take(slice(0, self.settings.attacked))
        within = L2(eps=self.on.eps)
        return Judge(self.fitted(model, slope).model, shown, within, within, seed, BATCH)


def work_on(bench: Bench, settings: Settings, on: Ground) -> Work:
    """The pictures and the network that they ask for."""
    training = networks.pictures(bench, on.data, "train", settings.pictures)
    held_out = networks.pictures(bench, on.data, "validation", settings.held_out)
    test = networks.pictures(bench, on.data, "test", settings.clean)
    return Work(bench, settings, on, Sets(training, held_out, test), card_for(on.model, training))


def trained(work: Work) -> list[Part]:
    """The network, and what the detector says of clean pictures."""

    def of(seed: int, folder: Path) -> Mapping[str, Any]:
        model = networks.learn(
            work.bench, folder, work.card, work.sets.training, work.settings.recipe(), seed
        ).model.eval()
        fitted = work.fitted(model)
        logits, found = detect.suspicions(fitted.model.suspicion, model, work.sets.test, batch=BATCH)
        return {
            ACCURACY: float((logits.argmax(1) == work.sets.test.labels).double().mean()),
            FLAGGED: above(found, fitted.threshold.value),
            **norms(found),
            "threshold": fitted.threshold.value,
        }

    return work.bench.each_seed(work.on.place(CLEAN), work.asked, of)


def attacked(work: Work, row: str, trainings: Sequence[Part]) -> list[Part]:
    """One attack on the network of each seed."""
    settings = work.settings
    attack: Attack = settings.evasive() if row in SLOPES else settings.unaware()[row]
    asked = {**work.asked, "attack": to_plain(attack), "attacked": settings.attacked, "slope": SLOPES.get(row)}
    if row == LEAST_PGD:
        asked["eps"] = work.on.eps

    place = work.on.place(row)
    return [
        work.bench.part(
            place, asked, partial(_attacked, work, row, attack, network), seed=network.seed, after=[network]
        )
        for network in trainings
    ]


def _attacked(work: Work, row: str, attack: Attack, network: Part, folder: Path) -> Mapping[str, Any]:
    """What the attack finds, and for PGD what all its steps leave."""
    model = networks.kept(work.bench, network)
    judge = work.judge(model, SLOPES.get(row, "double-backward"), network.seed)
    if row in SLOPES:
        return aware(judge.search([attack], judge.model))
    threshold = judge.limit
    found = unaware(judge.search([attack], model), threshold, row)
    if row != LEAST_PGD:
        return found
    whole = unaware(judge.search([work.settings.pgd()], model, highest=True), threshold, row)
    return {**found, ALL_STEPS: whole[FLAGGED], NORMS_ALL_STEPS: whole[NORMS]}


def above(suspicion: Tensor, threshold: float) -> float:
    """The share of pictures whose suspicion (n,) is above the threshold."""
    return float((suspicion.double() > threshold).double().mean())


def norms(suspicion: Tensor) -> dict[str, Any]:
    """The median norm of pictures, and the logarithm of each one's: their suspicion (n,)."""
    values = suspicion.double()
    return {NORM: float(values.quantile(0.5).exp()), NORMS: [round(value, 6) for value in values.tolist()]}


def found_by(found: Found) -> dict[str, Any]:
    """The share of pictures that the attack succeeded on; of these the median L2 and the norms, where there are any."""
    middle = median(found.size[found.success])
    of_them = {} if middle is None else {SIZE: middle, **norms(found.suspicion[found.success])}
    return {NORMS: [], FOUND: float(found.success.double().mean()), **of_them}


def unaware(found: Found, threshold: float, row: str) -> dict[str, Any]:
    """What became of who does not know the detector: the share flagged is of the adversarial pictures found.

    Raises: `DataError` where there are none.
    """
    if not bool(found.success.any()):
        raise DataError(
            f"{row}: no adversarial picture was found for {len(found.success)} pictures; allowed: one or more. Attack "
            "more pictures, or with more steps."
        )
    return {**found_by(found), FLAGGED: above(found.suspicion[found.success], threshold)}


def aware(found: Found) -> dict[str, Any]:
    """What became of who knows it: a picture for which nothing was found that misleads and passes counts as flagged."""
    return {**found_by(found), FLAGGED: float((~found.success).double().mean())}
