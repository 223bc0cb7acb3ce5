"""`python -m bench.spatial`: turns and shifts, ours beside those of other libraries, over the same grids.

How many of the pictures that a network gets right are broken by a turn of up to 30 degrees and a shift of up to 3
pixels each way, and how many forward passes a picture that takes. Foolbox tries the grid picture by picture, as ours
does; ART takes the one turn and shift that breaks most pictures for all of them, and of pictures with the channels
first it shifts one way only. Ours are also shown with gradients on the parameters, with the worst of ten at random, and
all together as the suite `standard` has them.

A picture counts as broken where the network takes what was returned for another class. Peers turn by their own
interpolation. CPU time of one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import peers
from bench.minimal import NETWORKS, conditions, prepared, show_peers
from bench.peers import art
from holdfast.attacks import APGD, PGD, Attack, Grid, WorstOfK, run
from holdfast.evaluate import SUITES, Meter
from holdfast.threats import Rotation

DEGREES, PIXELS = 30.0, 3
GRIDS = ((5, 5), (31, 5))  # angles, shifts each way
Make = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A network, pictures and labels to turned pictures."""


def main() -> int:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/spatial.json"))
    parser.add_argument("--only", choices=NETWORKS, nargs="+", default=list(NETWORKS), help="networks")
    parser.add_argument("--pictures", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions, missing = peers.load()
    show_peers(versions, missing)
    rows = []
    for name in options.only:
        model, x, y = prepared(name, options)
        for made, make in makes(x, versions).items():
            rows.append({"network": name, "made_by": made, **measured(make, model, x, y)})
            print("{network}: {made_by}: {broken} of {n} broken, {passes:.1f} passes, {seconds} s".format(**rows[-1]))
    told = conditions(options, versions, missing, options.pictures, "bench.spatial")
    told["clock"] = "CPU time of the process, one thread"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"conditions": told, "rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def makes(x: Tensor, versions: dict[str, str]) -> dict[str, Make]:
    """What is set side by side, by name, on pictures like these."""
    threat = Rotation(eps=DEGREES, shift=PIXELS / max(x.shape[2:]) / DEGREES)
    found: dict[str, Make] = {}
    for angles, shifts in GRIDS:
        found[f"holdfast grid {angles} x {shifts} x {shifts}"] = by_ours([Grid(angles=angles, shifts=shifts)], threat)
        if "foolbox" in versions:
            found[f"foolbox SpatialAttack {angles} x {shifts} x {shifts}"] = by_foolbox(angles, shifts)
    if "art" in versions:
        found["art SpatialTransformation 5 x 5 x 5"] = by_art
    found["holdfast worst of 10"] = by_ours([WorstOfK(k=10)], threat)
    found["holdfast PGD, 40 steps"] = by_ours([PGD()], threat)
    found["holdfast Auto-PGD, 100 steps, 5 restarts"] = by_ours([APGD(restarts=5)], threat)
    found["holdfast suite standard"] = by_ours(list(SUITES["standard"].within(threat)), threat)
    return found


def measured(make: Make, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    """How many are broken, and what that took."""
    with Meter(model) as meter:
        begun = time.process_time()
        returned = make(model, x, y)
        seconds = time.process_time() - begun
    with torch.no_grad():
        broken = int((model(returned).argmax(1) != y).sum())
    return {"broken": broken, "n": len(x), "passes": meter.forward / len(x), "seconds": round(seconds, 2)}


def by_ours(attacks: list[Attack], threat: Rotation) -> Make:
    """Some of ours in a row."""
    return lambda model, x, y: run(attacks, model, x, y, threat).x_adv


def by_foolbox(angles: int, shifts: int) -> Make:
    """Foolbox', all pictures in a batch."""

    def call(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox

        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        attack = foolbox.attacks.SpatialAttack(
            max_translation=PIXELS,
            max_rotation=DEGREES,
            num_translations=shifts,
            num_rotations=angles,
            grid_search=True,
        )
        found: Tensor = attack(wrapped, x, foolbox.criteria.Misclassification(y))[0]
        return found

    return call


def by_art(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """ART's, whose shifts are shares of the side, rounded to pixels, and whose model is asked picture by picture."""
    options = {
        "max_translation": 100 * PIXELS / x.shape[2],
        "num_translations": 5,
        "max_rotation": DEGREES,
        "num_rotations": 5,
    }
    return art.generated("SpatialTransformation", WithClasses(model), x, y, options)


class WithClasses(nn.Module):
    """A network that says how many classes it has, as ART wants to know."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.classes = model, 10

    def forward(self, x: Tensor) -> Tensor:
        """Its logits."""
        logits: Tensor = self.model(x)
        return logits


if __name__ == "__main__":
    sys.exit(main())
