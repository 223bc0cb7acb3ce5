"""What a step of training costs: ordinary ones over a bare loop, adversarial ones over the sum of their bare passes.

`python -m bench.training`: every figure with its spread and conditions, as a table on stdout and as JSON in a file.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn, optim

from bench.networks import EPS, EPS_CIFAR
from bench.rounds import interleaved, ratio, spread
from bench.script import arguments, finish, opened
from holdfast import FGSM, L2, PGD, Linf, data
from holdfast.attacks import Attack
from holdfast.train import (
    AWP,
    MART,
    NFGSM,
    TRADES,
    Adversary,
    DeepDefense,
    Epoch,
    Free,
    GradAlign,
    Hardened,
    Lipschitz,
    Method,
    Penalty,
    Recipe,
    TotalVariation,
    TrainOptions,
    card_for,
)
from holdfast.train.adversary import Combine
from holdfast.train.course import Course
from holdfast.train.cut import batches
from holdfast.train.epochs import one_epoch
from holdfast.train.optimiser import make_optimiser
from holdfast.train.state import State, Tally

CPU = torch.device("cpu")
NETWORKS = {"mlp": "fashion-mnist", "cnn": "fashion-mnist", "resnet8": "cifar-10"}
RADIUS = {"fashion-mnist": EPS, "cifar-10": EPS_CIFAR}
STEPS = {"mlp": 40, "cnn": 6, "resnet8": 2}  # a round


@dataclass(frozen=True)
class Kind:
    """A way to train, given a radius, and the bare passes that a step of it is made of."""

    recipe: Callable[[TrainOptions, float], Recipe]
    pictures: int | None  # passes for gradients to the pictures, forward and back, with frozen weights; None: not told
    weights: int = 1  # passes for gradients to the weights, forward and back
    looks: int = 0  # passes forward alone
    replays: int = 1  # how often all of it happens, with a step of the weights each


FGSM_RS = PGD(steps=1, step_size=1.25)
PGD_7 = PGD(steps=7, step_size=0.25)
EPS_L2 = 0.5  # of the second threat, where there are two


def against(attack: Attack, method: Method | None = None, **parts: Any) -> Callable[[TrainOptions, float], Recipe]:
    """Training on what the attack makes of each picture."""

    def made(options: TrainOptions, eps: float) -> Recipe:
        return Recipe(options=options, adversary=Adversary(attack, Linf(eps=eps), method or Hardened()), **parts)

    return made


def several(combine: Combine) -> Callable[[TrainOptions, float], Recipe]:
    """Training within two threats."""

    def made(options: TrainOptions, eps: float) -> Recipe:
        both = Adversary(PGD_7, Linf(eps=eps), further=(L2(eps=EPS_L2),), combine=combine)
        return Recipe(options=options, adversary=both)

    return made


def penalised(*penalties: Penalty) -> Callable[[TrainOptions, float], Recipe]:
    """Training on the pictures as they are."""
    return lambda options, eps: Recipe(options=options, penalties=penalties)


KINDS = {
    "plain": Kind(penalised(), 0),
    "FGSM": Kind(against(FGSM()), 1),
    "FGSM-RS": Kind(against(FGSM_RS), 1),
    "N-FGSM": Kind(against(NFGSM()), 1),
    "FGSM grad-align": Kind(against(FGSM(), penalties=(GradAlign(),)), None),
    "PGD-7": Kind(against(PGD_7), 7),
    "free-4": Kind(against(PGD(steps=1, step_size=1.0), Free(replays=4)), 0, replays=4),
    "TRADES-7": Kind(against(PGD_7, TRADES()), 7, weights=2, looks=1),
    "MART-7": Kind(against(PGD_7, MART()), 7, weights=2),
    "PGD-7 awp": Kind(against(PGD_7, awp=AWP()), 7, weights=2),
    "PGD-7 worst of 2": Kind(several("worst"), 14, looks=2),
    "PGD-7 average of 2": Kind(several("average"), 14, weights=2),
    "PGD-7 random of 2": Kind(several("random"), 7),
    "tv": Kind(penalised(TotalVariation()), None),
    "tv double-backward": Kind(penalised(TotalVariation(form="double-backward")), None),
    "lipschitz": Kind(penalised(Lipschitz()), None),
    "tv lipschitz": Kind(penalised(TotalVariation(), Lipschitz()), None),
    "deep-defense": Kind(penalised(DeepDefense()), None),
}
USUAL = "FGSM,FGSM-RS,PGD-7"


@dataclass(frozen=True)
class Parted:
    """Pictures in batches of so many rows each."""

    pictures: data.Pictures
    parts: list[Tensor]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.parts:
            yield self.pictures.x(rows), self.pictures.labels.index_select(0, rows)


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

    def ours(self, kind: Kind) -> Callable[[], Epoch]:
        """An epoch of the trainer over all pictures."""
        state = State.begin(self.model(), self.options, CPU)
        course = Course(kind.recipe(self.options, self.eps), 0)

        def job() -> Epoch:
            state.step, state.tally = 0, Tally.empty(CPU)
            return one_epoch(state, self.pictures, course, lambda state: None)

        return job

    def bare(self, *, fused: bool, ready: bool = True) -> Callable[[], None]:
        """Forward, backward and step on the same batches, ready as floats, or made of bytes as it goes."""
        model, parts = self.model(), self.parts() if ready else self.parted()
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
                x.requires_grad_(kind.replays > 1)  # a replay leaves the gradient of the pictures besides
                for _ in range(kind.replays):
                    slopes(model, x, y, kind.looks, kind.pictures or 0)
                    made.zero_grad(set_to_none=True)
                    for _ in range(kind.weights):
                        nn.functional.cross_entropy(model(x), y).backward()
                    made.step()

        return job

    def parts(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The batches of an epoch, ready."""
        return list(self.parted())

    def parted(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The batches of an epoch, each made when it is its turn, as often as they are asked for."""
        return Parted(self.pictures, batches(len(self.pictures), self.batch, 0))


def parsed(batch: int, optimiser: str) -> TrainOptions:
    """Options of a recipe whose rounds are alike."""
    from holdfast.options import parse

    return parse(TrainOptions, {"epochs": 1, "batch": batch, "optimiser": optimiser, "schedule": "constant"})


def slopes(model: nn.Module, x: Tensor, y: Tensor, looks: int, count: int) -> None:
    """So many passes forward, and for the gradient to the pictures, in evaluation mode with frozen weights."""
    if not looks + count:
        return
    model.eval().requires_grad_(False)
    for _ in range(looks):
        model(x)
    points = x.clone().requires_grad_()
    for _ in range(count):
        torch.autograd.grad(nn.functional.cross_entropy(model(points), y, reduction="sum"), points)
    model.train().requires_grad_(True)


def measure(case: Case, kinds: list[str], rounds: int) -> dict[str, Any]:
    """Of each kind: its time over that of its bare passes, and over plain training; of plain, what is left of speed."""
    jobs: dict[str, Callable[[], object]] = {
        "bare loop": case.bare(fused=False),
        "bare loop, fused": case.bare(fused=True),
        "bare loop, fused, from bytes": case.bare(fused=True, ready=False),
        "plain": case.ours(KINDS["plain"]),
    }
    for name in kinds:
        jobs[name] = case.ours(KINDS[name])
        if KINDS[name].pictures is not None:
            jobs[f"passes of {name}"] = case.passes(KINDS[name])
    spent = interleaved(jobs, rounds)
    rows: dict[str, dict[str, Any]] = {
        name: {"over_plain": asdict(ratio(spent[name], spent["plain"])), "passes": case.ours(KINDS[name])().passes}
        for name in kinds
    }
    for name in kinds:
        if f"passes of {name}" in spent:
            rows[name]["over_passes"] = asdict(ratio(spent[name], spent[f"passes of {name}"]))
    throughput = {name: asdict(ratio(spent[name], spent["plain"])) for name in jobs if name.startswith("bare")}
    seconds = sorted(spent["plain"])[rounds // 2] / len(batches(len(case.pictures), case.batch, 0))
    return {"throughput_over": throughput, "kinds": rows, "plain_cpu_ms_a_step": 1e3 * seconds}


def show(title: str, found: dict[str, Any]) -> None:
    """One table."""
    print(f"\n{title}; plain: {found['plain_cpu_ms_a_step']:.2f} ms CPU a step")
    for name, each in found["throughput_over"].items():
        print(f"  throughput over that of the {name:30}{spread(each)}")
    for name, each in found["kinds"].items():
        passes = "{} forward, {} back".format(*each["passes"])
        bare = f", {spread(each['over_passes'])} of its bare passes" if "over_passes" in each else ""
        print(f"  a step of {name:20}{spread(each['over_plain'])} of plain training{bare}; {passes}", flush=True)


def main() -> int:
    """Measure what is asked for."""
    parser = arguments(__doc__, rounds=15, out="runs/bench/training.json")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which of them")
    parser.add_argument(
        "--kinds", default=USUAL, help=f"ways to train beside the plain one: all, or of {', '.join(KINDS)}"
    )
    parser.add_argument("--batches", default="64,128", help="pictures a step")
    parser.add_argument("--threads", default="1,2", help="of torch")
    parser.add_argument("--optimiser", default="adamw", help="adamw, adam or sgd")
    return finish(parser.parse_args(), everything)


def everything(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of one run."""
    sets = sorted({NETWORKS[name] for name in options.networks.split(",")})
    result = opened(
        "bench.training",
        rounds=options.rounds,
        optimiser=options.optimiser,
        data=f"{', '.join(sets)}, first training pictures",
    )
    result["training"] = {}
    kinds = list(KINDS)[1:] if options.kinds == "all" else list(filter(None, options.kinds.split(",")))
    for name in options.networks.split(","):
        for batch in map(int, options.batches.split(",")):
            known = NETWORKS[name]
            pictures = data.load(known, "train", data_dir=options.data_dir, limit=batch * STEPS[name])
            case = Case(name, pictures, batch, options.optimiser, RADIUS[known])
            for threads in map(int, options.threads.split(",")):
                torch.set_num_threads(threads)
                found = measure(case, kinds, options.rounds)
                title = f"{name}, batch {batch}, {threads} thread(s)"
                result["training"][title] = found
                show(title, found)
    return result


if __name__ == "__main__":
    sys.exit(main())
