"""A step of training: a batch, what the adversary makes of it, the loss, one move of the weights."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn, optim

from holdfast.access.borrow import float_type
from holdfast.augment import augmented
from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.generators import torch_seeded
from holdfast.train.course import Course, Moment
from holdfast.train.labels import Labels
from holdfast.train.opposed import attacked, begun, threat_of
from holdfast.train.options import TrainOptions
from holdfast.train.running import in_a_row
from holdfast.train.step import Step
from holdfast.train.still import still
from holdfast.train.world import largest_of


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


def one_step(
    model: nn.Module, optimiser: optim.Optimizer, pictures: Pictures, rows: Tensor, course: Course, now: Moment
) -> Outcome:
    """One step on some pictures, those of all processes; or several in a row, where the method replays its batches.

    The global generator, which dropout draws from, is seeded for the step and put back.
    """
    device, adversary = pictures.images.device, course.recipe.adversary
    mine = course.world.part(len(rows), course.unit)
    idle = mine.start == mine.stop  # a last batch too small for all: this process takes part, and counts for nothing
    mine, count = (slice(0, course.unit), math.inf) if idle else (mine, len(rows))
    rows = rows.to(device)
    step: Step | None = None
    for turn in range(1 if adversary is None else adversary.method.replays):
        with (
            in_a_row(model, course.world, counts=not idle),
            torch_seeded(course.key(now.epoch, now.step, course.world.rank, "dropout", turn), device),
            precision(course.options, device),
        ):
            step = prepared(model, pictures, rows, course, now, mine) if step is None else step.again()
            optimiser.zero_grad(set_to_none=True)
            outcome, step = descended(step, course, count, now)
        move(model, optimiser, course)
    return outcome.nothing() if idle else outcome


def prepared(
    model: nn.Module, pictures: Pictures, rows: Tensor, course: Course, now: Moment, mine: slice = slice(None)
) -> Step:
    """The part `mine` of the batch `rows`, or all of it, as the loss sees it: augmented, mixed, its share moved."""
    recipe = course.recipe
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
    pictures: Pictures, rows: Tensor, mine: slice, dtype: torch.dtype, course: Course, now: Moment
) -> tuple[Tensor, Labels, Tensor]:
    """This process's part of a batch with its labels and places: augmented, and mixed with the next of the batch."""
    recipe = course.recipe
    asked = rows if recipe.mixup else rows[mine]  # the next picture may be another process's
    x = pictures.x(asked, dtype)
    y, place = pictures.labels.index_select(0, asked), pictures.place.index_select(0, asked)
    if recipe.augment:
        x = augmented(x, recipe.augment, seed=course.key(now.epoch, "augment"), place=place)
    if recipe.mixup is None:
        return x, Labels(y), place
    place = place[mine]
    mixed, share = recipe.mixup.mix(x[mine], x.roll(-1, 0)[mine], Draws(course.key(now.epoch, "mixup"), place))
    return mixed, Labels(y[mine], y.roll(-1)[mine], share), place


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
    right = (correct.view(copies, len(correct) // copies).all(0) if copies > 1 else correct).sum()
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


def reached(optimiser: optim.Optimizer, course: Course) -> list[Tensor]:
    """The weights that have a gradient; in several processes all, as another one may have reached the others."""
    weights: list[Tensor] = [weight for group in optimiser.param_groups for weight in group["params"]]
    if course.world.size == 1:
        return [weight for weight in weights if weight.grad is not None]
    for weight in weights:
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return weights


def precision(options: TrainOptions, device: torch.device) -> AbstractContextManager[object]:
    """Passes in bfloat16 where that is wanted: convolutions and products, while losses stay in float32."""
    if options.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
