"""What each of two processes does in test_train_together.py, launched by torchrun: a few trainings in a row.

Leaves `rank-R.pt` in the folder it is given: by name, what came of each. One process makes the same for comparison.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from holdfast import data, ranks, train
from holdfast.attacks import PGD
from holdfast.errors import HoldfastError
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from trainings import Kill, kept_often, killing

PLAIN = TrainOptions(epochs=2, batch=32, optimiser="sgd", learning_rate=0.05, ghost=8)
AGAINST = Adversary(PGD(steps=3, step_size=0.4), Linf(eps=0.1))
NORMED = {"batch_norm": True}
# With 203 pictures the last batch has 11, of two units; with 197 it has 5, and one process has nothing to do there.
SAME = {
    "plain": {"model": "mlp"},
    "against": {"model": "mlp", "recipe": Recipe(options=PLAIN, adversary=AGAINST)},
    "batch norm": {"model": "cnn", "net": NORMED},
    "batch norm against": {"model": "cnn", "net": NORMED, "recipe": Recipe(options=PLAIN, adversary=AGAINST)},
    "one idle": {"model": "cnn", "net": NORMED, "count": 197},
    "one more": {"model": "mlp", "net": NORMED, "count": 193},  # the last picture joins the last unit
    "part by part": {"model": "mlp", "net": NORMED, "recipe": Recipe(options=replace(PLAIN, ghost=16))},
    "adamw, clipped": {
        "model": "mlp",
        "recipe": Recipe(options=replace(PLAIN, optimiser="adamw", learning_rate=0.003, clip=0.5)),
    },
    "ema": {"model": "cnn", "net": NORMED, "recipe": Recipe(options=replace(PLAIN, average="ema", average_decay=0.9))},
    "swa": {"model": "cnn", "net": NORMED, "recipe": Recipe(options=replace(PLAIN, average="swa", average_from=0.0))},
    "plateau": {"model": "mlp", "recipe": Recipe(options=replace(PLAIN, epochs=4, schedule="plateau", stalled=1))},
}


class Odd(nn.Module):
    """A mean of all batches in its statistics, a weight that nothing reaches, and weights of no seed."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.inner = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 20), nn.BatchNorm1d(20, momentum=None), nn.Linear(20, 10)
        )
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return self.inner(x)


class Turns(nn.Module):
    """Does as it is told at the sixth training step of one process."""

    def __init__(self, rank, does):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.rank, self.does, self.calls = nn.Linear(64, 10), rank, does, 0

    def forward(self, x):
        self.calls += self.training
        logits = self.inner(x.flatten(1))
        return self.does(logits) if self.training and self.calls == 6 and ranks.rank() == self.rank else logits


def gives_up(logits):
    raise HoldfastError("this one gave up")


def dies(logits):
    os.kill(os.getpid(), signal.SIGKILL)


def pictures(count=203):
    return data.load("digits", "train", limit=count)


def go(model="mlp", net=None, count=203, **rest):
    given = pictures(count)
    options = {"recipe": Recipe(options=PLAIN), "validation": data.load("digits", "validation", limit=51), **rest}
    return train.train(card_for(model, given, net) if isinstance(model, str) else model, given, **options)


def outcome(**options):
    """What a training returned or raised, in plain tensors and numbers."""
    try:
        found = go(**options)
    except HoldfastError as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {"weights": dict(found.model.state_dict()), "history": [epoch.plain() for epoch in found.history]}


def stopped(at, **options):
    """A training with an end before its time, whose state was kept every other step."""
    try:
        with kept_often():
            return outcome(**killing(at=at), **options)
    except Kill:
        return {"error": "Kill"}


def resumed(**options):
    """What comes of it when it goes on, and how many pictures were done by then."""
    seen = []
    found = outcome(resume=True, progress=lambda done, total: seen.append(done), **options)
    return {**found, "seen": seen[:1]}


def main(folder):
    torch.set_num_threads(1)
    told = {name: outcome(**options) for name, options in SAME.items()}
    told["odd"] = outcome(model=Odd(ranks.rank()))
    if ranks.size() > 1:
        told["fails"] = outcome(model=Turns(1, gives_up))
        told["not a number"] = outcome(model=Turns(1, lambda logits: logits * float("nan")))
        told["other seeds"] = outcome(seed=ranks.rank())
        told["uneven"] = outcome(recipe=Recipe(options=replace(PLAIN, batch=24)))
        whole, out = SAME["batch norm against"], folder / "run"
        told["stopped"] = stopped(203 + 5 * 32, out=out, **whole)
        told["resumed"] = resumed(out=out, **whole)
        told["finished"] = resumed(out=out, **whole)
    torch.save(told, folder / f"rank-{ranks.rank()}.pt")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:  # one of the processes dies
        sys.stdout.write(str(outcome(model=Turns(1, dies)).get("text")))
