"""What a step of training costs: ordinary ones over a bare loop, adversarial ones over the sum of their bare passes.

`python -m bench.training`: every figure with its spread and conditions, as a table on stdout and as JSON in a file.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

import holdfast
from bench.networks import EPS, EPS_CIFAR
from bench.rounds import interleaved, ratio
from holdfast import FGSM, PGD, Linf, data
from holdfast.errors import HoldfastError
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from holdfast.train.epochs import one_epoch
from holdfast.train.optimiser import make_optimiser
from holdfast.train.state import State, Tally
from holdfast.train.steps import Course, batches

CPU = torch.device("cpu")
NETWORKS = {"mlp": "fashion-mnist", "cnn": "fashion-mnist", "resnet8": "cifar-10"}
RADIUS = {"fashion-mnist": EPS, "cifar-10": EPS_CIFAR}
STEPS = {"mlp": 40, "cnn": 6, "resnet8": 2}  # a round


@dataclass(frozen=True)
class Kind:
    """A way to train, given a radius, and the bare passes that a step of it is made of."""

    recipe: Callable[[TrainOptions, float], Recipe]
    pictures: int  # passes for gradients to the pictures, forward and back, with frozen weights
    weights: int = 1  # passes for gradients to the weights, forward and back


def against(attack: FGSM | PGD) -> Callable[[TrainOptions, float], Recipe]:
    """Training on what the attack makes of each picture."""
    return lambda options, eps: Recipe(options=options, adversary=Adversary(attack, Linf(eps=eps)))


KINDS = {
    "plain": Kind(lambda options, eps: Recipe(options=options), 0),
    "FGSM": Kind(against(FGSM()), 1),
    "FGSM-RS": Kind(against(PGD(steps=1, step_size=1.25)), 1),
    "PGD-7": Kind(against(PGD(steps=7, step_size=0.25)), 7),
}


@dataclass(frozen=True)
class Case:
    """A network and batches of one size."""

    name: str
    pictures: data.Pictures
    batch: int
    optimiser: str
    eps: float

    @property
    def options(self) -> TrainOptions:
        """A constant step size, so that rounds are alike."""
        return parsed(self.batch, self.optimiser)

    def model(self) -> nn.Module:
        """The same weights for all, in training mode."""
        return card_for(self.name, self.pictures).build(seed=0).train()

    def ours(self, kind: Kind) -> Callable[[], None]:
        """An epoch of the trainer over all pictures."""
        state = State.begin(self.model(), self.options, CPU)
        course = Course(kind.recipe(self.options, self.eps), 0)

        def job() -> None:
            state.step, state.tally = 0, Tally.empty(CPU)
            one_epoch(state, self.pictures, course, lambda state: None)

        return job

    def bare(self, *, fused: bool) -> Callable[[], None]:
        """Forward, backward and step on the same batches, which lie ready as floats."""
        model, parts = self.model(), self.parts()
        own = make_optimiser(model, self.options)
        made = type(own)([{**group, "fused": fused or None} for group in own.param_groups])

        def job() -> None:
            for x, y in parts:
                loss = nn.functional.cross_entropy(model(x), y)
                made.zero_grad(set_to_none=True)
                loss.backward()
                made.step()

        return job

    def passes(self, kind: Kind) -> Callable[[], None]:
        """The bare passes of a kind of training, and the optimiser's step."""
        model, parts = self.model(), self.parts()
        made: optim.Optimizer = make_optimiser(model, self.options)

        def job() -> None:
            for x, y in parts:
                slopes(model, x, y, kind.pictures)
                made.zero_grad(set_to_none=True)
                for _ in range(kind.weights):
                    nn.functional.cross_entropy(model(x), y).backward()
                made.step()

        return job

    def parts(self) -> list[tuple[Tensor, Tensor]]:
        """The batches of an epoch."""
        return [
            (self.pictures.x(rows), self.pictures.labels[rows]) for rows in batches(len(self.pictures), self.batch, 0)
        ]


def parsed(batch: int, optimiser: str) -> TrainOptions:
    """Options of a recipe whose rounds are alike."""
    from holdfast.options import parse

    return parse(TrainOptions, {"epochs": 1, "batch": batch, "optimiser": optimiser, "schedule": "constant"})


def slopes(model: nn.Module, x: Tensor, y: Tensor, count: int) -> None:
    """So many passes for the gradient to the pictures, in evaluation mode with frozen weights, as attacks take them."""
    if not count:
        return
    model.eval().requires_grad_(False)
    points = x.clone().requires_grad_()
    for _ in range(count):
        torch.autograd.grad(nn.functional.cross_entropy(model(points), y, reduction="sum"), points)
    model.train().requires_grad_(True)


def measure(case: Case, kinds: list[str], rounds: int) -> dict[str, Any]:
    """Of each kind: its time over that of its bare passes, and over plain training; of plain, what is left of speed."""
    jobs: dict[str, Callable[[], object]] = {
        "bare loop": case.bare(fused=False),
        "bare loop, fused": case.bare(fused=True),
        "plain": case.ours(KINDS["plain"]),
    }
    for name in kinds:
        jobs[name] = case.ours(KINDS[name])
        jobs[f"passes of {name}"] = case.passes(KINDS[name])
    spent = interleaved(jobs, rounds)
    rows = {
        name: {
            "over_passes": asdict(ratio(spent[name], spent[f"passes of {name}"])),
            "over_plain": asdict(ratio(spent[name], spent["plain"])),
        }
        for name in kinds
    }
    throughput = {name: asdict(ratio(spent[name], spent["plain"])) for name in ("bare loop", "bare loop, fused")}
    seconds = sorted(spent["plain"])[rounds // 2] / len(case.parts())
    return {"throughput_over": throughput, "kinds": rows, "plain_cpu_ms_a_step": 1e3 * seconds}


def show(title: str, found: dict[str, Any]) -> None:
    """One table."""
    print(f"\n{title}; plain: {found['plain_cpu_ms_a_step']:.2f} ms CPU a step")
    for name, each in found["throughput_over"].items():
        print(f"  throughput over that of the {name:18}{spread(each)}")
    for name, each in found["kinds"].items():
        print(
            f"  a step of {name:10}{spread(each['over_passes'])} of its bare passes, "
            f"{spread(each['over_plain'])} of plain training",
            flush=True,
        )


def spread(each: dict[str, float]) -> str:
    """Median and range."""
    return f"{each['median']:.2f} ({each['lowest']:.2f}-{each['highest']:.2f})"


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds of every comparison")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which of them")
    parser.add_argument("--kinds", default=",".join(list(KINDS)[1:]), help="which ways to train beside the plain one")
    parser.add_argument("--batches", default="64,128", help="pictures a step")
    parser.add_argument("--threads", default="1,2", help="of torch")
    parser.add_argument("--optimiser", default="adamw", help="adamw, adam or sgd")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/training.json"))
    options = parser.parse_args()
    try:
        result = everything(options)
    except HoldfastError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def everything(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of one run."""
    result: dict[str, Any] = {"conditions": conditions(options), "training": {}}
    print(json.dumps(result["conditions"], indent=1))
    for name in options.networks.split(","):
        for batch in map(int, options.batches.split(",")):
            known = NETWORKS[name]
            pictures = data.load(known, "train", data_dir=options.data_dir, limit=batch * STEPS[name])
            case = Case(name, pictures, batch, options.optimiser, RADIUS[known])
            for threads in map(int, options.threads.split(",")):
                torch.set_num_threads(threads)
                found = measure(case, list(filter(None, options.kinds.split(","))), options.rounds)
                title = f"{name}, batch {batch}, {threads} thread(s)"
                result["training"][title] = found
                show(title, found)
    return result


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader has to know to run it again."""
    return {
        "command": " ".join(["python", "-m", "bench.training", *sys.argv[1:]]),
        "rounds": options.rounds,
        "clock": "CPU time of the process, interleaved rounds, ratio within each round, median (range)",
        "optimiser": options.optimiser,
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "data": ", ".join(sorted({NETWORKS[name] for name in options.networks.split(",")}))
        + ", first training pictures",
    }


if __name__ == "__main__":
    sys.exit(main())
