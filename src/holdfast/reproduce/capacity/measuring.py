"""What is measured of a network: accuracies, the loss that training came to, and how often it says the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.data import Pictures
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.capacity.settings import TRAININGS, Capacity, recipe
from holdfast.reproduce.part import Part
from holdfast.threats import Linf
from holdfast.train import card_for


def trained_and_attacked(
    bench: Bench, settings: Capacity, training: str, scale: int, sets: tuple[Pictures, Pictures]
) -> list[Part]:
    """A network of a scale, trained in one way and attacked, for every seed."""
    learnt, shown = sets
    chosen = recipe(settings, training)
    card = card_for("cnn", learnt, {"width": settings.base * scale})

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, learnt, chosen, seed)
        answers = networks.answers(trained.model, shown).argmax(1)
        threat, radii = Linf(eps=settings.eps), [settings.eps]
        held = {
            name: networks.held(bench, folder, trained.model, shown, threat, attack, radii, name=name)
            for name, attack in settings.judges().items()
        }
        return {
            "natural": float((answers == shown.labels).double().mean()),
            **{name: one.robust[0] for name, one in held.items()},
            "idle": any(one.idle for one in held.values()),
            "loss": trained.history[-1].loss,
            "commonest": float(answers.bincount().max() / len(answers)),
            "parameters": sum(weight.numel() for weight in trained.model.parameters()),
            "curves": networks.curves(trained),
        }

    judges = {name: to_plain(attack) for name, attack in settings.judges().items()}
    asked = networks.settings(chosen, card, *sets, eps=settings.eps, judges=judges)
    return bench.each_seed(f"{TRAININGS[training]}/x{scale}", asked, work)
