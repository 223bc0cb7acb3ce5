"""A step of training: a batch, what the adversary makes of it, the loss, one move of the weights."""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn, optim

from holdfast.access import borrow
from holdfast.access.borrow import float_type
from holdfast.augment import augmented
from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.errors import ModelError
from holdfast.threats import Rendered, Threat
from holdfast.train.cut import pieces
from holdfast.train.labels import Labels
from holdfast.train.options import TrainOptions
from holdfast.train.recipe import Recipe
from holdfast.train.running import in_a_row
from holdfast.train.step import Step
from holdfast.train.still import still
from holdfast.train.walk import Walk
from holdfast.train.world import Alone, World, largest_of


@dataclass(frozen=True)
class Course:
    """Everything but model and data that decides the weights."""

    recipe: Recipe
    seed: int
    world: World = field(default_factory=Alone)
    start: str | None = None  # hash of the weights it begins with, where they are given

    @property
    def options(self) -> TrainOptions:
        """Those of the recipe."""
        return self.recipe.options

    @property
    def unit(self) -> int:
        """How many pictures stay together, whoever gets them: those that batch norm takes together."""
        return self.options.ghost or max(1, self.options.batch // self.world.size)

    def key(self, *use: object) -> int:
        """A seed of its own for every use, so that a resumed run needs no generator's state."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *use))).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Moment:
    """A step of an epoch, both from 1."""

    epoch: int
    step: int
    steps: int  # in an epoch

    def __str__(self) -> str:
        return f"step {self.step} of {self.steps} in epoch {self.epoch}"

    def share(self, options: TrainOptions) -> float:
        """How much of the training lies behind, in [0, 1)."""
        return (self.epoch - 1 + (self.step - 1) / self.steps) / options.epochs


@dataclass(frozen=True)
class Outcome:
    """What a step leaves for the record; of this process's part of the batch, each before the weights moved."""

    loss: Tensor  # () sum over the pictures, without penalties
    right: Tensor  # () int64
    figures: dict[str, Tensor]  # (copies N,) each
    copies: int = 1  # how often each picture was in the batch; it counts as right where every copy is

    def nothing(self) -> "Outcome":
        """The same of no pictures."""
        none = {name: values[:0] for name, values in self.figures.items()}
        return Outcome(torch.zeros_like(self.loss), torch.zeros_like(self.right), none)


def batches(count: int, batch: int, seed: int) -> list[Tensor]:
    """Shuffled rows 0 to `count` - 1 in batches; a last single picture joins the batch before it."""
    return pieces(torch.randperm(count, generator=torch.Generator().manual_seed(seed)), batch)


def one_step(
    model: nn.Module, optimiser: optim.Optimizer, pictures: Pictures, rows: Tensor, course: Course, now: Moment
) -> Outcome:
    """One step on some pictures, those of all processes; or several in a row, where the method replays its batches.

    The global generator, which dropout draws from, is seeded for the step and put back.
    """
    device, adversary = pictures.images.device, course.recipe.adversary
    mine = course.world.mine(torch.arange(len(rows)), course.unit)
    idle = not len(mine)  # a last batch too small for all: this process takes part, and counts for nothing
    mine, count = (torch.arange(min(course.unit, len(rows))), math.inf) if idle else (mine, len(rows))
    rows, mine = rows.to(device), mine.to(device)
    step: Step | None = None
    for turn in range(1 if adversary is None else adversary.method.replays):
        with (
            in_a_row(model, course.world, counts=not idle),
            own_generator(device, course.key(now.epoch, now.step, course.world.rank, "dropout", turn)),
            precision(course.options, device),
        ):
            step = prepared(model, pictures, rows, course, now, mine) if step is None else step.again()
            optimiser.zero_grad(set_to_none=True)
            outcome, step = descended(step, course, count, now)
        move(model, optimiser, course)
    return outcome.nothing() if idle else outcome


def prepared(
    model: nn.Module, pictures: Pictures, rows: Tensor, course: Course, now: Moment, mine: Tensor | None = None
) -> Step:
    """The part `mine` of the batch `rows`, or all of it, as the loss sees it: augmented, mixed, its share moved."""
    recipe = course.recipe
    mine = torch.arange(len(rows), device=rows.device) if mine is None else mine
    x, labels, place = shown(pictures, rows, mine, float_type(model), course, now)
    if course.options.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    replays = recipe.adversary is not None and recipe.adversary.method.replays > 1
    copies = 1 if recipe.adversary is None else recipe.adversary.copies
    walk = begun(x, labels.y, place, course, now) if replays else None
    seen = attacked(model, x, labels.y, place, course, now) if walk is None else walk.seen
    return Step(
        model=model,
        x=torch.cat([x] * copies) if copies > 1 else x,
        labels=labels.repeated(copies),
        place=place.repeat(copies) if copies > 1 else place,
        seen=seen,
        loss=recipe.losses,
        seed=course.key(now.epoch, now.step, "penalty"),
        sloped=replays or any(penalty.wants_slope for penalty in recipe.penalties),
        ghost=course.options.ghost,
        threat=threat_of(course, now),
        walk=walk,
        copies=copies,
        largest=lambda values: largest_of(course.world, values),
        whole=len(rows),
    )


def shown(
    pictures: Pictures, rows: Tensor, mine: Tensor, dtype: torch.dtype, course: Course, now: Moment
) -> tuple[Tensor, Labels, Tensor]:
    """This process's part of a batch with its labels and places: augmented, and mixed with the next of the batch."""
    recipe = course.recipe
    asked = rows if recipe.mixup else rows[mine]  # the next picture may be another process's
    x, y, place = pictures.x(asked, dtype), pictures.labels[asked], pictures.place[asked]
    if recipe.augment:
        x = augmented(x, recipe.augment, seed=course.key(now.epoch, "augment"), place=place)
    if recipe.mixup is None:
        return x, Labels(y), place
    after, place = (mine + 1) % len(rows), place[mine]
    mixed, share = recipe.mixup.mix(x[mine], x[after], Draws(course.key(now.epoch, "mixup"), place))
    return mixed, Labels(y[mine], y[after], share), place


def descended(step: Step, course: Course, count: float, now: Moment) -> tuple[Outcome, Step]:
    """Leave the gradient of the whole loss at the weights, and give back the step that it was taken on.

    Around it, where that is wanted, the weights are moved; what is told is of the weights as they are.
    """
    outcome, total = differentiate(step, course, count)
    awp = course.recipe.awp
    if awp is None or now.epoch <= awp.warm_up:
        torch.autograd.backward(total)
        return outcome, step
    away = step.anew()
    with awp.moved(step.model, total, course.world), still(step.model):
        _, total = differentiate(away, course, count)
        torch.autograd.backward(total)
    return outcome, away


def differentiate(step: Step, course: Course, count: float) -> tuple[Outcome, Tensor]:
    """What the weights are to descend, its mean over the `count` pictures of all processes, and what to tell of it."""
    recipe, copies = course.recipe, step.copies
    losses = step.losses if recipe.adversary is None else recipe.adversary.method(step)
    whole = losses
    for penalty in recipe.penalties:
        whole = whole + penalty(step)
    correct = step.logits.detach().argmax(1) == step.labels.chief
    right = correct.view(copies, len(correct) // copies).all(0).sum()
    pictures = count * copies
    mean = whole.mean() if len(whole) == pictures else whole.sum() / pictures  # the first in one operation less
    return Outcome(losses.detach().sum() / copies, right, step.figures, copies), mean


def move(model: nn.Module, optimiser: optim.Optimizer, course: Course) -> None:
    """One move of the weights, by the gradient of all processes."""
    weights = reached(optimiser, course)
    course.world.add_up(p.grad for p in weights if p.grad is not None)
    if course.options.clip is not None:
        nn.utils.clip_grad_norm_(weights, course.options.clip)
    optimiser.step()


def strength(course: Course, now: Moment) -> float:
    """The share of its radius that the adversary has by now."""
    options = course.options
    return min(1.0, now.share(options) / options.warm_up) if options.warm_up else 1.0


def share(course: Course, count: int) -> int:
    """How many of so many pictures are attacked; which ones is chance, as the batch is shuffled."""
    return max(1, round(course.options.mix * count)) if count else 0


def threat_of(course: Course, now: Moment) -> Threat | None:
    """The adversary's first threat, as wide as it is by now."""
    adversary = course.recipe.adversary
    if adversary is None or isinstance(adversary.threat, Rendered):
        return None
    found: Threat = adversary.threat.with_eps(strength(course, now) * adversary.threat.eps)
    return found


def reached(optimiser: optim.Optimizer, course: Course) -> list[Tensor]:
    """The weights that have a gradient; in several processes all, as another one may have reached the others."""
    weights: list[Tensor] = [weight for group in optimiser.param_groups for weight in group["params"]]
    if course.world.size == 1:
        return [weight for weight in weights if weight.grad is not None]
    for weight in weights:
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return weights


def attacked(model: nn.Module, x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Tensor:
    """The batch with its adversarial share moved, as many times as there are copies of it."""
    adversary, part = course.recipe.adversary, strength(course, now)
    if adversary is None:
        return x
    if not part or not len(x):
        return torch.cat([x] * adversary.copies)
    count, seed = share(course, len(x)), course.key(now.epoch, "attack")
    few, rest = x[:count], x[count:]
    try:
        moved = adversary.harden(model, few, y[:count], place[:count], seed=seed, strength=part)
    except ModelError as error:
        # When an earlier step has ruined the weights, the attack is the first to notice.
        if not finite_on(model, few):
            raise diverged(course.options, str(now)) from error
        raise
    if not len(rest):
        return moved
    return torch.cat([piece for one in moved.split(count) for piece in (one, rest)])


def begun(x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Walk:
    """The batch with its adversarial share at the start of an attack that goes on between replays."""
    assert course.recipe.adversary is not None
    count, seed = share(course, len(x)), course.key(now.epoch, "attack")
    part = strength(course, now)
    climb = course.recipe.adversary.walk(x[:count], y[:count], place[:count], seed=seed, strength=part)
    return Walk(climb, x[count:])


@contextmanager
def own_generator(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device`, and put their states back at the end."""
    # Not `torch.manual_seed`, which would seed devices that are not put back; nor `fork_rng`, which looks for devices.
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def precision(options: TrainOptions, device: torch.device) -> AbstractContextManager[object]:
    """Passes in bfloat16 where that is wanted: convolutions and products, while losses stay in float32."""
    if options.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def finite_on(model: nn.Module, x: Tensor) -> bool:
    """Whether the model answers all pictures with finite logits, in evaluation mode."""
    with borrow(model) as lent, torch.no_grad():
        return bool(lent(x).isfinite().all())


def diverged(options: TrainOptions, where: str, places: Tensor | None = None) -> ModelError:
    """The error for a loss that is NaN or infinite."""
    shown = ""
    if places is not None:
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        shown = f", on the pictures at {', '.join(map(str, places[:3].tolist()))}{more}"
    return ModelError(
        f"training: the loss is no longer finite at {where}{shown}; nothing of it is saved. learning_rate is "
        f"{options.peak:g}; try learning_rate={options.peak / 10:g} or clip=1, and check that the pictures lie in "
        "[0, 1]."
    )


Tick = Callable[[int], None]
"""Called with the number of pictures done since the last call."""
