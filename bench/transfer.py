"""`python -m bench.transfer`: how often pictures made on one network fool another, ours beside torchattacks'.

PGD, I-FGSM, momentum and what is put around it, at equal steps, radius and step size, without restarts: pictures are
made on each network and shown to the others. A row an attack, a column a pair; each cell counts the pictures that fool
the victim, of those that it gets right, by holdfast's verifier for all alike. Combinations for which torchattacks has
no class stand alone.

All have decay 1; DI shrinks to 0.9 of the side at least with chance 0.5, TI has a kernel of 5 pixels, SI 5 copies, VMI
5 points around: torchattacks' defaults but for TI's kernel, whose default, 15, is for pictures of 299 pixels, and for a
step of eps / steps. Nothing was chosen by what comes out here. Its TI wants three channels, so there the picture goes
in three times over and the network gets their mean. Ours keeps the point of the highest loss on the source that it
looked at, torchattacks the last one. Chance decides in PGD, DI and VMI: cells add up `--seeds` runs. Its DI draws once
for a whole batch, so that one run of it says little: take ten or more.

Linf on Fashion-MNIST, the first pictures of the test split. CPU time of one thread, of all sources together.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import peers
from bench.minimal import conditions, show_peers
from bench.networks import network
from holdfast import data
from holdfast.attacks import IFGSM, MIFGSM, PGD, Attack
from holdfast.evaluate import verify
from holdfast.evaluate.statistics import excess
from holdfast.extract import Through
from holdfast.threats import Linf

NETWORKS = ("cnn", "mlp", "cnn-hardened")
PGD_STEP = 0.25  # of a step of PGD, in units of the radius
COLOUR = ("TIFGSM",)  # classes that want three channels
Make = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""Pictures and labels to changed pictures, on a model, with a seed."""


@dataclass(frozen=True)
class Pair:
    """One algorithm: ours, and its class and options there, if it has one."""

    ours: Attack
    theirs: str | None = None
    options: dict[str, Any] | None = None


def pairs(steps: int) -> dict[str, Pair]:
    """What is set side by side, by name."""
    diverse = {"resize_rate": 0.9, "diversity_prob": 0.5}
    at = {"steps": steps}
    return {
        "PGD": Pair(PGD(**at, step_size=PGD_STEP), "PGD"),
        "I": Pair(IFGSM(**at), "BIM"),
        "MI": Pair(MIFGSM(**at), "MIFGSM", {"decay": 1.0}),
        "NI": Pair(MIFGSM(**at, look_ahead=True), "NIFGSM", {"decay": 1.0}),
        "DI": Pair(MIFGSM(**at, diversity=0.5), "DIFGSM", {"decay": 1.0, **diverse}),
        "TI": Pair(MIFGSM(**at, kernel=5), "TIFGSM", {"decay": 1.0, "len_kernel": 5, "diversity_prob": 0.0}),
        "TI-DI": Pair(MIFGSM(**at, kernel=5, diversity=0.5), "TIFGSM", {"decay": 1.0, "len_kernel": 5, **diverse}),
        "SI": Pair(MIFGSM(**at, scales=5)),
        "SI-NI": Pair(MIFGSM(**at, scales=5, look_ahead=True), "SINIFGSM", {"decay": 1.0, "m": 5}),
        "VMI": Pair(MIFGSM(**at, neighbours=5), "VMIFGSM", {"decay": 1.0, "N": 5, "beta": 1.5}),
        "VNI": Pair(MIFGSM(**at, neighbours=5, look_ahead=True), "VNIFGSM", {"decay": 1.0, "N": 5, "beta": 1.5}),
        "SI-NI-TI-DI": Pair(MIFGSM(**at, scales=5, look_ahead=True, kernel=5, diversity=0.5)),
        "SI-NI-TI-DI-VMI": Pair(MIFGSM(**at, scales=5, look_ahead=True, kernel=5, diversity=0.5, neighbours=5)),
    }


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/transfer.json"))
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=pairs(1), default=list(pairs(1)), help="attacks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions, missing = peers.load()
    show_peers(versions, missing)
    training = data.load("fashion-mnist", "train", data_dir=options.data_dir)
    nets = {name: network(name, training, options.folder) for name in NETWORKS}
    test = data.load("fashion-mnist", "test", data_dir=options.data_dir, limit=options.pictures)
    rows: dict[str, dict[str, Any]] = {}
    for name in options.only:
        pair = pairs(options.steps)[name]
        rows[f"holdfast {name}"] = measured(ours(pair.ours, options.eps), nets, test, options)
        if pair.theirs is not None and "torchattacks" in versions:
            rows[f"torchattacks {name}"] = measured(theirs(pair, options), nets, test, options)
        print(f"{name} done", file=sys.stderr, flush=True)
    show(rows, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    told = conditions(options, versions, missing, options.pictures, "bench.transfer")
    told |= {"clock": "CPU time of the process, one thread", "seed": list(range(options.seeds))}
    told["pictures"] = f"the first {options.pictures} of Fashion-MNIST's test split"
    options.out.write_text(json.dumps({"conditions": told, "rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def ours(attack: Attack, eps: float) -> Make:
    """One of ours, as `holdfast evaluate --source` runs it."""

    def make(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        through = Through(source=model, attack=attack)
        return through(None, x, y, Linf(eps=eps), seed, torch.arange(len(x))).x_adv

    return make


def theirs(pair: Pair, options: argparse.Namespace) -> Make:
    """The same in torchattacks, in batches as large as ours."""
    alpha = options.eps * (PGD_STEP if pair.theirs == "PGD" else 1 / options.steps)

    def make(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        kind = getattr(import_module("torchattacks"), str(pair.theirs))
        model = OfMean(model) if pair.theirs in COLOUR else model
        x = x.expand(-1, 3, -1, -1) if pair.theirs in COLOUR else x
        attack = kind(model, eps=options.eps, alpha=alpha, steps=options.steps, **(pair.options or {}))
        torch.manual_seed(seed)
        found = [attack(part, label) for part, label in zip(x.split(256), y.split(256), strict=True)]
        return torch.cat(found).detach()[:, :1]

    return make


class OfMean(nn.Module):
    """A network of one channel behind the mean of three."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the mean channel."""
        logits: Tensor = self.model(x.mean(1, keepdim=True))
        return logits


def measured(
    make: Make, nets: dict[str, nn.Module], test: data.Pictures, options: argparse.Namespace
) -> dict[str, Any]:
    """Successes on every other network, the cost, and which pictures fooled whom."""
    x, y = test.x(), test.labels
    cells: dict[str, dict[str, Any]] = {}
    seconds = 0.0
    for source, model in nets.items():
        for seed in range(options.seeds):
            begun = time.process_time()
            x_adv = make(model, x.clone(), y.clone(), seed)
            seconds += time.process_time() - begun
            for victim, other in nets.items():
                verdict = verify(other, x, x_adv, y, norm="linf", eps=options.eps)
                right = ~verdict.start_wrong
                cell = cells.setdefault(f"{source} > {victim}", {"k": 0, "n": 0, "fooled": []})
                cell["k"] += int((verdict.success & right).sum())
                cell["n"] += int(right.sum())
                cell["fooled"] += (verdict.success & right).int().tolist()
    return {"cpu_seconds": round(seconds, 2), "cells": cells}


def show(rows: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Percent by pair, the mean over pairs of two networks, the time, and whether ours and theirs differ by chance."""
    names = list(next(iter(rows.values()))["cells"])
    print(f"\n{options.pictures} pictures, Linf {options.eps:g}, {options.steps} steps, {options.seeds} seed(s)")
    heads = "".join(f"{name.replace('hardened', 'hard'):>22}" for name in names)
    print(f"  {'':30}{heads}{'others':>10}{'CPU s':>8}")
    for name, row in rows.items():
        cells = "".join(f"{cell['k']:>9}/{cell['n']:<5}{percent(cell):>5.1f} %" for cell in row["cells"].values())
        print(f"  {name:30}{cells}{100 * mean_of_others(row):>8.1f} %{row['cpu_seconds']:>8.1f}")
    for name in rows:
        beside = rows.get(name.replace("holdfast", "torchattacks", 1))
        if name.startswith("holdfast") and beside is not None:
            more, less = differing(rows[name], beside)
            told = f"{more} pictures fool by ours alone, {less} by theirs alone"
            print(f"  {name}: {told}; a fair coin does as much for ours with p = {excess(more, less):.3g}")


def percent(cell: dict[str, Any]) -> float:
    """Of the pictures that the victim gets right."""
    return 100 * cell["k"] / cell["n"]


def mean_of_others(row: dict[str, Any]) -> float:
    """The mean rate over all pairs of two networks."""
    rates = [percent(cell) / 100 for name, cell in row["cells"].items() if is_transfer(name)]
    return sum(rates) / len(rates)


def differing(one: dict[str, Any], other: dict[str, Any]) -> tuple[int, int]:
    """How many pictures fool another network by the one alone, and by the other alone."""
    more = less = 0
    for name in filter(is_transfer, one["cells"]):
        for mine, its in zip(one["cells"][name]["fooled"], other["cells"][name]["fooled"], strict=True):
            more, less = more + (mine > its), less + (its > mine)
    return more, less


def is_transfer(name: str) -> bool:
    """Whether a cell is of two networks."""
    source, _, victim = name.partition(" > ")
    return source != victim


if __name__ == "__main__":
    sys.exit(main())
