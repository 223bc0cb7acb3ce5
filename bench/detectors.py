"""`python -m bench.detectors`: every detector judged twice, by who does not know of it and by who does.

Beside one network, trained here on the first pictures of a set: every shipped detector with its usual options, its
threshold at 5 % false alarms, against attacks that keep to a radius and one that looks for the smallest change in L2.
Shares of the pictures that fool the network which the detector flags, and the median change. What it costs beside the
network's own pass is in units of that pass: of a model that is asked in batches of 256, the median of the rounds.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import holdfast
from holdfast import attacks, data, detect, models, threats, train
from holdfast.access import borrow
from holdfast.errors import HoldfastError
from holdfast.evaluate import detection

COLUMNS = ("oblivious", "full", "adaptive")


def main() -> int:
    """Train, fit, judge, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--data-dir", type=Path, default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--model", default="cnn", help="architecture of the network")
    parser.add_argument("--training", type=int, default=10_000, help="pictures it is trained on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--members", type=int, default=1, help="several make an ensemble, of seeds 0, 1, ...")
    parser.add_argument("--pictures", type=int, default=100, help="test pictures attacked")
    parser.add_argument("--eps", type=float, default=0.1, help="Linf radius of attacks that keep to one")
    parser.add_argument("--attack", nargs="+", default=["pgd", "apgd", "ddn"])
    parser.add_argument("--only", nargs="+", choices=detect.DETECTORS, default=list(detect.DETECTORS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/detectors.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = data.load(options.data, "train", data_dir=options.data_dir, limit=options.training)
    held_out = data.load(options.data, "validation", data_dir=options.data_dir, limit=2000)
    judged_by = data.load(options.data, "test", data_dir=options.data_dir, limit=options.pictures)
    model = network(options.model, known, options.epochs, options.members)
    chosen = [attacks.build(name) for name in options.attack]
    rows = []
    for name in options.only:
        rows.append(row(name, model, known, held_out, judged_by, chosen, threats.Linf(eps=options.eps)))
        show(rows[-1])
    told = {
        "command": " ".join(["python", "-m", "bench.detectors", *sys.argv[1:]]),
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "data": options.data,
        "model": options.model,
        "trained_on": len(known),
        "epochs": options.epochs,
        "members": options.members,
        "pictures": len(judged_by),
        "eps": options.eps,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"conditions": told, "rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def network(name: str, known: data.Pictures, epochs: int, members: int) -> nn.Module:
    """What is attacked: a network, or an ensemble of several."""
    recipe = train.Recipe(options=train.TrainOptions(epochs=epochs, batch=128))
    card = train.card_for(name, known)
    made = [train.train(card, known, recipe=recipe, seed=seed).model for seed in range(members)]
    return made[0] if members == 1 else models.Ensemble(made)


def row(
    name: str,
    model: nn.Module,
    known: data.Pictures,
    held_out: data.Pictures,
    judged_by: data.Pictures,
    chosen: list[Any],
    threat: threats.AnyThreat,
) -> dict[str, Any]:
    """One detector, or why it does not suit the model."""
    begun = time.perf_counter()
    try:
        fitted = detect.fit(detect.detector(name), model, known, held_out)
    except HoldfastError as error:
        return {"detector": name, "because": str(error)}
    seconds = time.perf_counter() - begun
    found = detection(fitted, judged_by, chosen, threat).plain
    return {
        "detector": name,
        "fit_seconds": round(seconds, 1),
        "passes": passes(fitted.model, judged_by.x()),
        "false_alarms": found["clean"]["false_alarms"],
        "attacks": {one["attack"]: {column: one[column] for column in COLUMNS} for one in found["attacks"]},
    }


def passes(guarded: nn.Module, x: torch.Tensor, rounds: int = 7) -> float:
    """CPU time of the guarded model over that of its classifier."""
    x = x.repeat(-(-256 // len(x)), 1, 1, 1)[:256]
    ratios = []
    with torch.no_grad(), borrow(guarded):
        for _ in range(rounds):
            spent = []
            for asked in (guarded.model, guarded):
                begun = time.process_time()
                asked(x)
                spent.append(time.process_time() - begun)
            ratios.append(spent[1] / spent[0])
    return round(median(ratios), 2)


def show(made: dict[str, Any]) -> None:
    """A line an attack."""
    if "because" in made:
        print(f"{made['detector']}: {made['because']}", flush=True)
        return
    alarms = f"{100 * made['false_alarms']['rate']:.0f} % false alarms"
    print(f"{made['detector']}: {alarms}, {made['passes']} passes, fitted in {made['fit_seconds']} s", flush=True)
    for name, columns in made["attacks"].items():
        told = ", ".join(f"{column} {cell(columns[column])}" for column in COLUMNS if columns[column] is not None)
        print(f"  {name:10} {told}", flush=True)


def cell(column: dict[str, Any]) -> str:
    """Flagged, and the median change."""
    if column["detected"] is None:
        return "nothing found"
    size = "" if column["median_size"] is None else f" ({column['median_size']:.3g})"
    return f"{100 * column['detected']['rate']:.0f} %{size}"


if __name__ == "__main__":
    sys.exit(main())
