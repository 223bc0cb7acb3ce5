"""What is measured of each network: calibration before and after every method."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast import uncertainty
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.calibration.settings import METHODS, TEMPERATURE, UNCALIBRATED, Network, Settings, measure_of
from holdfast.reproduce.part import Part
from holdfast.train import card_for

ECE, NLL, ACCURACY, FEW = "ECE", "NLL", "accuracy", "few"
DIAGRAMS = (UNCALIBRATED, TEMPERATURE)  # whose reliability is drawn

Answers = tuple[Tensor, Tensor]  # logits (N, K) and labels (N,)


def trained_and_calibrated(bench: Bench, settings: Settings, one: Network) -> list[Part]:
    """A network's training, and all methods on its answers, each seed anew."""
    training = networks.pictures(bench, one.data, "train", settings.pictures)
    held_out = networks.pictures(bench, one.data, "validation", settings.fitted)
    test = networks.pictures(bench, one.data, "test", settings.tests)
    uncertainty.check_apart(held_out, test)
    card = card_for(one.model, training)
    methods = {name: {"name": method.name, **to_plain(method)} for name, method in METHODS.items()}
    more = {"methods": methods, "bins": settings.bins, "few": settings.few}
    asked = networks.settings(one.recipe, card, training, held_out, test, **more)

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        model = networks.learn(bench, folder, card, training, one.recipe, seed).model
        fitted_on = (networks.answers(model, held_out), held_out.labels)
        judged_by = (networks.answers(model, test), test.labels)
        return {
            **calibrated(fitted_on, judged_by, settings),
            "training accuracy": networks.accuracy(model, training),
        }

    return bench.each_seed(one.place, asked, work)


def calibrated(fitted_on: Answers, judged_by: Answers, settings: Settings) -> dict[str, Any]:
    """Measures of the second answers as they are and after each method, fitted on all of the first and on few."""
    little = (fitted_on[0][: settings.few], fitted_on[1][: settings.few])
    found: dict[str, Any] = measures("", UNCALIBRATED, judged_by, settings.bins)
    found |= measures(FEW, UNCALIBRATED, judged_by, settings.bins)
    diagrams = {UNCALIBRATED: uncertainty.reliability(*judged_by, settings.bins).to_plain()}
    for name, method in METHODS.items():
        for size, given in (("", fitted_on), (FEW, little)):
            made = method.fit(*given)
            with torch.no_grad():
                answers = made(judged_by[0].double())
            found |= measures(size, name, (answers, judged_by[1]), settings.bins)
            if name in DIAGRAMS and not size:
                diagrams[name] = uncertainty.reliability(answers, judged_by[1], settings.bins).to_plain()
    return {**found, "diagrams": diagrams}


def measures(size: str, name: str, answers: Answers, bins: int) -> dict[str, float]:
    """By the names under which `key` finds them."""
    return {
        key(ECE, name, size): uncertainty.ece(*answers, bins),
        key(NLL, name, size): uncertainty.nll(*answers),
        key(ACCURACY, name, size): uncertainty.accuracy(*answers),
    }


def key(what: str, name: str, size: str = "") -> str:
    """The name of a measure among what a part has found."""
    return measure_of(name, f"{size} {what}".strip())
