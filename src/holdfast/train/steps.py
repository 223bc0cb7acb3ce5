"""A step of training: a batch, what the adversary makes of it, the loss, one move of the weights."""

import hashlib
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
from holdfast.train.labels import Labels
from holdfast.train.options import TrainOptions
from holdfast.train.recipe import Recipe
from holdfast.train.step import Step
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
    figures: dict[str, Tensor]  # (N,) each


def batches(count: int, batch: int, seed: int) -> list[Tensor]:
    """Shuffled rows 0 to `count` - 1 in batches; a last single picture joins the batch before it.

    Batch norm cannot be trained on one picture.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = list(torch.split(order, batch))
    if len(parts) > 1 and len(parts[-1]) == 1 and batch > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def one_step(
    model: nn.Module, optimiser: optim.Optimizer, pictures: Pictures, rows: Tensor, course: Course, now: Moment
) -> Outcome:
    """One step on some pictures, those of all processes.

    The global generator, which dropout draws from, is seeded for the step and put back.
    """
    device = pictures.images.device
    with (
        own_generator(device, course.key(now.epoch, now.step, course.world.rank, "dropout")),
        precision(course.options, device),
    ):
        step = prepared(model, pictures, rows.to(device), course, now)
        outcome, total = differentiate(step, course, len(rows))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
    move(model, optimiser, course)
    return outcome


def prepared(model: nn.Module, pictures: Pictures, rows: Tensor, course: Course, now: Moment) -> Step:
    """This process's part of a batch as the loss sees it: augmented, mixed, its adversarial share moved."""
    recipe = course.recipe
    x, labels, place = shown(pictures, rows, float_type(model), course, now)
    if course.options.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return Step(
        model=model,
        x=x,
        labels=labels,
        place=place,
        seen=attacked(model, x, labels.y, place, course, now),
        loss=recipe.losses,
        seed=course.key(now.epoch, now.step, "penalty"),
        sloped=any(penalty.wants_slope for penalty in recipe.penalties),
        ghost=course.options.ghost,
        largest=lambda values: largest_of(course.world, values),
        whole=len(rows),
    )


def shown(
    pictures: Pictures, rows: Tensor, dtype: torch.dtype, course: Course, now: Moment
) -> tuple[Tensor, Labels, Tensor]:
    """This process's part of a batch with its labels and places: augmented, and mixed with the next of the batch."""
    recipe, world = course.recipe, course.world
    asked = rows if recipe.mixup else world.mine(rows)  # the next picture may be another process's
    x, y, place = pictures.x(asked, dtype), pictures.labels[asked], pictures.place[asked]
    if recipe.augment:
        x = augmented(x, recipe.augment, seed=course.key(now.epoch, "augment"), place=place)
    if recipe.mixup is None:
        return x, Labels(y), place
    x, other, y, second, place = (world.mine(one) for one in (x, x.roll(-1, 0), y, y.roll(-1), place))
    x, share = recipe.mixup.mix(x, other, Draws(course.key(now.epoch, "mixup"), place))
    return x, Labels(y, second, share), place


def differentiate(step: Step, course: Course, count: int) -> tuple[Outcome, Tensor]:
    """What the weights are to descend, its mean over the `count` pictures of all processes, and what to tell of it."""
    recipe = course.recipe
    losses = step.losses if recipe.adversary is None else recipe.adversary.method(step)
    whole = losses
    for penalty in recipe.penalties:
        whole = whole + penalty(step)
    right = (step.logits.detach().argmax(1) == step.labels.chief).sum()
    return Outcome(losses.detach().sum(), right, step.figures), whole.sum() / count


def move(model: nn.Module, optimiser: optim.Optimizer, course: Course) -> None:
    """One move of the weights, by the gradient of all processes."""
    weights = [p for p in model.parameters() if p.grad is not None]
    course.world.add_up(p.grad for p in weights if p.grad is not None)
    if course.options.clip is not None:
        nn.utils.clip_grad_norm_(weights, course.options.clip)
    optimiser.step()


def attacked(model: nn.Module, x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Tensor:
    """The batch with its adversarial share; which pictures those are is chance, as the batch is shuffled."""
    options, adversary = course.options, course.recipe.adversary
    strength = min(1.0, now.share(options) / options.warm_up) if options.warm_up else 1.0
    if adversary is None or not strength or not len(x):
        return x
    count = max(1, round(options.mix * len(x)))
    x, y, place, rest = x[:count], y[:count], place[:count], x[count:]
    seed = course.key(now.epoch, "attack")
    try:
        with borrow(model), torch.no_grad():
            climbed = adversary.method.climbed(model, x)
        moved = adversary.harden(model, x, y, place, seed=seed, strength=strength, objective=climbed)
    except ModelError as error:
        # When an earlier step has ruined the weights, the attack is the first to notice.
        if not finite_on(model, x):
            raise diverged(options, str(now)) from error
        raise
    return torch.cat([moved, rest]) if len(rest) else moved


@contextmanager
def own_generator(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device`, and put their states back at the end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not `torch.manual_seed`: it would seed the devices that are not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


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
