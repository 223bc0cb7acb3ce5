"""The classifiers with what attackers make of them, and each detector beside one, as parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast import detect
from holdfast.access.borrow import borrow
from holdfast.attacks.attack import minimal
from holdfast.detect import AuxiliarySuspicion, Guarded
from holdfast.evaluate.detection_measures import estimate, median
from holdfast.evaluate.judge import Found, Judge
from holdfast.files import write_atomically
from holdfast.models import Card
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.auxiliary_detector.settings import (
    ACCURACY,
    ALARMS,
    ALL_STEPS,
    ATTACKS,
    AUROC,
    AWARE,
    AWARE_SIZE,
    COST,
    DETECTED,
    FIRST,
    PAIRS,
    SIZE,
    Ground,
    Kind,
    Settings,
)
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.networks import Sets
from holdfast.reproduce.part import Part, slug
from holdfast.threats import L2, Linf
from holdfast.train import card_for

MADE = "attacked.safetensors"  # what attackers who know of no detector have made, beside the classifier
BATCH = 250


@dataclass(frozen=True)
class Work:
    """What the parts of one set work with. Of `sets` the validation pictures give thresholds."""

    bench: Bench
    settings: Settings
    on: Ground
    sets: Sets
    card: Card

    @property
    def asked(self) -> dict[str, Any]:
        """All that decides what a classifier's part finds, but for its seed."""
        sets, given = self.sets, self.settings
        found = networks.settings(given.recipe(), self.card, sets.training, sets.validation, sets.test)
        attacks = {name: to_plain(attack) for name, attack in given.attacks().items()}
        return {**found, "attacks": attacks, "eps": self.on.eps, "attacked": given.attacked}

    def judge(self, model: Guarded, seed: int) -> Judge:
        """Who attacks the classifier, or both."""
        shown = self.sets.test.take(slice(0, self.settings.attacked))
        return Judge(model, shown, Linf(eps=self.on.eps), L2(eps=1.0), seed, BATCH)


def work_on(bench: Bench, settings: Settings, on: Ground) -> Work:
    """The pictures of a set and the classifier that they ask for."""
    training = networks.pictures(bench, on.data, "train", settings.pictures)
    held_out = networks.pictures(bench, on.data, "validation", settings.held_out)
    test = networks.pictures(bench, on.data, "test", settings.clean)
    return Work(bench, settings, on, Sets(training, held_out, test), card_for(on.model, training))


def classifiers(work: Work) -> list[Part]:
    """A classifier for each seed, and what attackers make of it who know of no detector."""

    def of(seed: int, folder: Path) -> Mapping[str, Any]:
        model = networks.learn(work.bench, folder, work.card, work.sets.training, work.settings.recipe(), seed).model
        judge = work.judge(Guarded(model.eval(), Trusting(), 1.0, 1.0, len(work.card.classes)), seed)
        made = {}
        for name, attack in work.settings.attacks().items():
            found = judge.search([attack], model, highest=name == ALL_STEPS and not minimal(attack))
            made[slug(name)] = found.x_adv.cpu().contiguous()
        write_atomically(folder / MADE, packed(made))
        return {ACCURACY: networks.accuracy(model, work.sets.test)}

    return work.bench.each_seed(f"{work.on.place}/classifier", work.asked, of)


class Trusting(detect.Suspicion):
    """Suspects nothing."""

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and zeros (N,)."""
        logits: Tensor = model(x)
        return logits, logits.new_zeros(len(x))


def packed(made: Mapping[str, Tensor]) -> bytes:
    """Pictures as a file's content."""
    from safetensors.torch import save

    content: bytes = save(dict(made))
    return content


def guarded(work: Work, kind: Kind, trained: Sequence[Part]) -> list[Part]:
    """One of the four detectors beside the classifier of each seed, judged by every attack."""
    settings = work.settings
    asked = {
        **work.asked,
        "detector": detect.described(settings.detector(kind, work.on.eps)),
        "fitted_on": settings.fitted_on,
        "false_alarms": settings.false_alarms,
        "evasions": [to_plain(one) for small in (True, False) for one in settings.evasions(minimal=small)],
    }
    place = f"{work.on.place}/{slug(kind.name)}"
    return [
        work.bench.part(place, asked, partial(_guarded, work, kind, one), seed=one.seed, after=[one]) for one in trained
    ]


def _guarded(work: Work, kind: Kind, classifier: Part, folder: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    model, settings = networks.kept(work.bench, classifier), work.settings
    fitting = work.sets.training.take(slice(0, settings.fitted_on))
    chosen, seed = settings.detector(kind, work.on.eps), classifier.seed
    fitted = detect.fit(
        chosen, model, fitting, work.sets.validation, false_alarms=settings.false_alarms, seed=seed, batch=BATCH
    )
    suspicion = fitted.model.suspicion
    assert isinstance(suspicion, AuxiliarySuspicion)
    clean = detect.suspicions(suspicion, model, work.sets.test, batch=BATCH)[1]
    made = load_file(work.bench.out / classifier.place / MADE)
    judge = work.judge(fitted.model, seed)
    return {
        ALARMS: above(clean, fitted.threshold.value),
        COST: share(suspicion, model, work.sets.test.x(slice(0, 1))),
        PAIRS: suspicion.learnt_from,
        **against(judge, settings, made, clean),
    }


def against(judge: Judge, settings: Settings, made: Mapping[str, Tensor], clean: Tensor) -> dict[str, float]:
    """Every attack, unaware of the detector and aware of it."""
    attacks = settings.attacks()
    unaware = {
        name: judge.verified(made[slug(name)].to(judge.x), judge.model.model, judge.threat_of(attacks[name]), None)
        for name in ATTACKS
    }
    shared = {small: judge.search(settings.evasions(minimal=small), judge.model) for small in (True, False)}
    aware: dict[str, Found] = {}
    for name, attack in attacks.items():
        if name == ALL_STEPS:
            aware[name] = aware[FIRST]
            continue
        known = [unaware[FIRST], unaware[ALL_STEPS]] if name == FIRST else [unaware[name]]
        own = judge.search([attack], judge.model)
        aware[name] = judge.with_passed(own, [*known, shared[minimal(attack)]])
    limit = judge.limit
    columns = {name: both(unaware[name], aware[name], clean, limit, judge.seed) for name in ATTACKS}
    return {
        key(name, column): value
        for name, values in columns.items()
        for column, value in values.items()
        if value is not None
    }


def both(unaware: Found, aware: Found, clean: Tensor, limit: float, seed: int) -> dict[str, float | None]:
    """The columns of an attack; None where nothing was found to count.

    Shares are of the adversarial pictures that who does not know the detector finds, and for who does, of those that
    either finds; of the latter those count as detected for which nothing passes.
    """
    suspicion, broken = unaware.suspicion[unaware.success], unaware.success | aware.success
    area = estimate(clean, suspicion, seed)
    return {
        DETECTED: above(suspicion, limit) if len(suspicion) else None,
        AUROC: None if area is None else area["value"],
        SIZE: median(unaware.size[unaware.success]),
        AWARE: float((~aware.success[broken]).double().mean()) if broken.any() else None,
        AWARE_SIZE: median(aware.size[aware.success]),
    }


def above(suspicion: Tensor, limit: float) -> float:
    """The share of pictures whose suspicion (n,) is above the threshold."""
    return float((suspicion.double() > limit).double().mean())


def key(attack: str, column: str) -> str:
    """The name of a number in a detector's part."""
    return f"{attack}, {column}"


def share(suspicion: AuxiliarySuspicion, model: nn.Module, x: Tensor) -> float:
    """What the detector adds to a pass of the classifier, as its share: multiplications with weights, counted."""
    with borrow(model), borrow(suspicion):
        x = x.to(next(model.parameters()).device)
        return products(lambda: suspicion(model, x)) / products(lambda: model(x)) - 1


def products(call: Callable[[], object]) -> float:
    """Multiplications with weights in a call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2
