"""What is measured of each classifier: errors as it is, under the source's attack, and under a harder look."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from holdfast.attacks import APGD, IFGSM
from holdfast.data import Pictures
from holdfast.evaluate import Point
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.networks import Sets
from holdfast.reproduce.part import Part
from holdfast.reproduce.svm_vs_resnet.classifiers import Classifier
from holdfast.reproduce.svm_vs_resnet.settings import CLEAN, GREYS, JUDGE, MOST, Settings, pgd
from holdfast.threats import Linf
from holdfast.train import card_for


def trained_and_attacked(bench: Bench, settings: Settings, one: Classifier, sets: Sets) -> list[Part]:
    """A row's training and attacks, each seed anew."""
    pixels: Literal["pixels"] | None = "pixels" if one.linear else None
    card = card_for("linear" if one.linear else settings.model, sets.training, normalize=pixels)
    judge = None if one.linear else APGD(steps=settings.judge_steps)
    asked = networks.settings(
        one.recipe,
        card,
        sets.training,
        sets.validation,
        sets.test,
        mean=card.mean,
        radii=list(settings.radii),
        steps=settings.steps,
        judge_steps=judge and judge.steps,
    )

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, sets.training, one.recipe, seed, validation=sets.validation)
        found: dict[str, Any] = {
            CLEAN: 1 - networks.accuracy(trained.model, sets.test),
            **_under_attack(bench, settings, folder, trained.model, sets.test),
            "curves": networks.curves(trained),
        }
        eps = settings.radii[-1] / GREYS
        if judge is None:
            return {**found, MOST: largest_error(trained.model, sets.test, eps)}
        seen = networks.attacked(
            bench, folder, trained.model, sets.test, Linf(eps=eps), judge, [eps], name="judge", seed=seed
        )
        return {**found, JUDGE: error(seen.curve[0])}

    return bench.each_seed(f"svm-vs-resnet/{one.short}", asked, work)


def _under_attack(bench: Bench, settings: Settings, folder: Path, model: nn.Module, test: Pictures) -> dict[str, float]:
    """The error at each radius under the source's attack of that radius alone."""
    eps = [radius / GREYS for radius in settings.radii]
    attack = IFGSM(steps=settings.steps)
    seen = networks.attacked(bench, folder, model, test, Linf(eps=eps[-1]), attack, eps, name="pgd")
    return {pgd(radius): error(point) for radius, point in zip(settings.radii, seen.curve, strict=True)}


def error(point: Point) -> float:
    """The share of pictures that the attack of this radius alone has wrong at its end."""
    return (point.own.n - point.own.k) / point.own.n


def largest_error(model: nn.Module, test: Pictures, eps: float) -> float:
    """The share of pictures that a linear model has wrong at some point within `eps`, the pixels' bounds left aside.

    Class j gets in front of the label's y once their difference is at most eps times the L1 norm of w_y - w_j, the norm
    dual to the threat's: no attack can do more, and one that heeds the bounds may do less.
    Cost: one forward pass a picture. Source: Hoelder's inequality.
    """
    weight = next(layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)).detach().cpu().double()
    logits, own = networks.answers(model, test).double(), test.labels
    lead = logits.gather(1, own[:, None]) - logits
    reach = eps * torch.cdist(weight, weight, p=1)[own]
    lost = (lead <= reach).scatter(1, own[:, None], False).any(1)
    return float(lost.double().mean())
