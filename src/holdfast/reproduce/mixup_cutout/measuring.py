"""What is measured of each row: the network on the pictures that it has learnt, and on others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.mixup_cutout.settings import ACCURACY, BEST, GAP, NLL, TRAINING, Settings, Variant
from holdfast.reproduce.networks import Sets
from holdfast.reproduce.part import Part
from holdfast.train import card_for
from holdfast.train.history import best_of


def trained_and_looked_at(bench: Bench, settings: Settings, one: Variant, sets: Sets) -> list[Part]:
    """A row's training and its figures, each seed anew."""
    model = {"batch_norm": False, **one.model}
    card = card_for(settings.model, sets.training, model)
    asked = networks.settings(one.recipe, card, sets.training, sets.validation, sets.test)

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, sets.training, one.recipe, seed, validation=sets.validation)
        logits = networks.answers(trained.model, sets.test).double()
        right = float((logits.argmax(1) == sets.test.labels).double().mean())
        learnt = networks.accuracy(trained.model, sets.training)
        return {
            ACCURACY: right,
            NLL: float(cross_entropy(logits, sets.test.labels)),
            TRAINING: learnt,
            GAP: learnt - right,
            BEST: best_of(trained.history, one.recipe.options.watch).number,
            "curves": networks.curves(trained),
        }

    return bench.each_seed(one.place, asked, work)
