"""What each of two processes does in test_processes.py, launched by torchrun: a few evaluations, one after the other.

Leaves `rank-R.json` in the folder it is given: by name, what came of each.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from evaluate_models import honest
from holdfast import ranks
from holdfast.access import borrow
from holdfast.attacks import PGD, Reserve, Square
from holdfast.errors import HoldfastError
from holdfast.evaluate import Meter
from test_run_folder import run

HELD = (PGD(steps=4), Reserve(attack=Square(queries=40)))


class FailsOn(nn.Module):
    """An honest model that gives up in one of the processes, once it was asked often enough."""

    def __init__(self, rank):
        super().__init__()
        self.inner, self.rank, self.calls = honest(), rank, 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 6 and ranks.rank() == self.rank:
            raise HoldfastError("this one gave up")
        return self.inner(x)


def outcome(**options):
    """What an evaluation returned or raised, and how many passes this process made for it."""
    model = options.pop("model", None) or honest()
    with Meter(model) as meter:
        try:
            found = run(model=model, **options)
            said = {"robust": found.robust.k, "records": float(found.records["size"].sum()), "summary": found.summary}
        except HoldfastError as error:
            said = {"error": type(error).__name__, "text": str(error)}
    return {**said, "forward": meter.forward, "backward": meter.backward}


def other_weights():
    """Random ones, other ones in each process."""
    torch.manual_seed(100 + ranks.rank())
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def main(folder):
    torch.set_num_threads(1)
    with borrow(honest()):  # trained before any time is taken
        pass
    told = {
        "whole": outcome(out=folder / "whole", checks=True),
        "in memory": outcome(checks=True),
        "in reserve": outcome(out=folder / "in-reserve", attack=HELD, checks=True),
        "no checks": outcome(out=folder / "no-checks"),
        "fails": outcome(out=folder / "fails", model=FailsOn(1)),
        "fails at first": outcome(out=folder / "fails-first", model=FailsOn(0)),
        "goes on": outcome(out=folder / "stopped", checks=True, resume=True),
        "another model": outcome(out=folder / "another", model=other_weights()),
        "in use": outcome(out=folder / "whole", checks=True),
    }
    (folder / f"rank-{ranks.rank()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
