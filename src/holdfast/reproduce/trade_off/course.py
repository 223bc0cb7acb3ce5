"""Accuracy under attack after every epoch of a training, which a kill does not lose."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from holdfast.attacks import Attack, run
from holdfast.data import Pictures
from holdfast.files import dump_json, write_atomically
from holdfast.models import Card
from holdfast.threats import Linf
from holdfast.train.folder import CHECKPOINT

COURSE = "course.json"  # beside the training that it is of


class Course:
    """Robust accuracies after each epoch on some pictures, kept in a file beside the training in `folder`/model.

    They are of the weights in the training's checkpoint, which is written before an epoch is told of.
    """

    def __init__(
        self, card: Card, scored: Mapping[str, Pictures], attack: Attack, threat: Linf, folder: Path, seed: int
    ) -> None:
        self.card, self.scored, self.attack, self.threat, self.seed = card, scored, attack, threat, seed
        self.path, self.checkpoint = folder / COURSE, folder / "model" / CHECKPOINT

    def read(self) -> dict[str, list[float]]:
        """By name, a number an epoch."""
        if not self.path.is_file():
            return {name: [] for name in self.scored}
        return dict(json.loads(self.path.read_bytes()))

    def catch_up(self) -> None:
        """Score the weights of the checkpoint, if they are those after an epoch that has no score yet."""
        if not self.checkpoint.is_file():
            return
        known, state = self.read(), torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        done = min(len(rates) for rates in known.values())
        if state["step"] or len(state["history"]) != done + 1:
            return
        model = self.card.build(0)
        model.load_state_dict(state["model"])
        for name, pictures in self.scored.items():
            known[name].append(withstood(model.eval(), pictures, self.attack, self.threat, self.seed))
        write_atomically(self.path, dump_json(known))


def withstood(model: nn.Module, pictures: Pictures, attack: Attack, threat: Linf, seed: int) -> float:
    """The share right before and after an attack."""
    found = run(attack, model, pictures.x(), pictures.labels, threat, seed=seed, batch=512)
    return 1 - float((found.success | found.start_wrong).double().mean())
