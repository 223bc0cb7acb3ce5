"""One epoch: shuffled batches, a schedule that is a function of time, one optimiser step a batch."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from holdfast.access import borrow
from holdfast.access.borrow import float_type
from holdfast.data import Pictures
from holdfast.errors import ModelError
from holdfast.train.adversary import Adversary, broken
from holdfast.train.history import Count
from holdfast.train.options import TrainOptions

RISE = 0.2  # share of the one-cycle schedule in which the step size grows
STEPS_BETWEEN_LOOKS = {"cuda": 50}  # a look at the losses waits for the device; on a CPU it costs nothing

Tick = Callable[[int], None]
"""Called with the number of pictures done since the last call."""


@dataclass(frozen=True)
class Course:
    """Everything but model and data that decides the weights."""

    options: TrainOptions
    adversary: Adversary | None
    seed: int

    def key(self, epoch: int, use: str) -> int:
        """A seed of its own for every epoch and use, so that a resumed run needs no generator's state."""
        digest = hashlib.sha256(f"{self.seed}/{epoch}/{use}".encode()).digest()
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


def make_optimiser(model: nn.Module, options: TrainOptions) -> optim.Optimizer:
    """The optimiser over the weights that are not frozen."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ModelError("the model has no weights to train; allowed: at least one with requires_grad=True.")
    rate, decay = options.peak, options.weight_decay
    if options.optimiser == "sgd":
        momentum = options.momentum
        return optim.SGD(weights, rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay)
    kind = optim.AdamW if options.optimiser == "adamw" else optim.Adam
    return kind(weights, rate, weight_decay=decay)


def rate(options: TrainOptions, time: float) -> float:
    """The step size at a share `time` of the training, in [0, 1).

    Source: one cycle cf. Smith & Topin 2017, arXiv:1708.07120; here linear both ways, momentum left alone.
    """
    if options.schedule == "constant":
        return options.peak
    return options.peak * min(time / RISE, (1 - time) / (1 - RISE))


def batches(count: int, batch: int, seed: int) -> list[Tensor]:
    """Shuffled rows 0 to `count` - 1 in batches; a last single picture joins the batch before it.

    Batch norm cannot be trained on one picture.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = list(torch.split(order, batch))
    if len(parts) > 1 and len(parts[-1]) == 1 and batch > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def one_epoch(
    model: nn.Module,
    optimiser: optim.Optimizer,
    pictures: Pictures,
    course: Course,
    epoch: int,
    tick: Tick | None = None,
) -> tuple[float, Count]:
    """Train on every picture once; returns the mean loss and the right answers, each before its step.

    The global generator, which dropout draws from, is seeded for the epoch and put back.
    Raises: `ModelError` with the step at which the loss stopped being finite.
    """
    device = pictures.images.device
    parts = batches(len(pictures), course.options.batch, course.key(epoch, "order"))
    losses: list[Tensor] = []
    right = torch.zeros((), dtype=torch.int64, device=device)
    looks = STEPS_BETWEEN_LOOKS.get(device.type, 1)
    model.train()
    with own_generator(device, course.key(epoch, "dropout")):
        for step, rows in enumerate(parts, start=1):
            now = Moment(epoch, step, len(parts))
            loss, correct = one_step(model, optimiser, pictures, rows.to(device), course, now)
            losses.append(loss * len(rows))
            right += correct
            if step % looks == 0 or step == len(parts):
                check(losses[-looks:], now, course.options)
            if tick is not None:
                tick(len(rows))
    if broken(model):
        raise diverged(course.options, f"the last step of epoch {epoch}")
    return float(torch.stack(losses).double().sum()) / len(pictures), Count(int(right), len(pictures))


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


def one_step(
    model: nn.Module,
    optimiser: optim.Optimizer,
    pictures: Pictures,
    rows: Tensor,
    course: Course,
    now: Moment,
) -> tuple[Tensor, Tensor]:
    """One step on some pictures; returns the mean loss and the number of right answers, both before it."""
    for group in optimiser.param_groups:
        group["lr"] = rate(course.options, now.share(course.options))
    x, y = pictures.x(rows, float_type(model)), pictures.labels[rows]
    if course.adversary is not None:
        x = attacked(model, x, y, pictures.place[rows], course, now)
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.detach(), (logits.detach().argmax(1) == y).sum()


def attacked(model: nn.Module, x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Tensor:
    """The batch with its adversarial share; which pictures those are is chance, as the batch is shuffled."""
    options, adversary = course.options, course.adversary
    strength = min(1.0, now.share(options) / options.warm_up) if options.warm_up else 1.0
    if adversary is None or not strength:
        return x
    count = max(1, round(options.mix * len(x)))
    seed = course.key(now.epoch, "attack")
    try:
        moved = adversary.harden(model, x[:count], y[:count], place[:count], seed=seed, strength=strength)
    except ModelError as error:
        # When an earlier step has ruined the weights, the attack is the first to notice.
        if not finite_on(model, x):
            raise diverged(options, str(now)) from error
        raise
    return torch.cat([moved, x[count:]])


def finite_on(model: nn.Module, x: Tensor) -> bool:
    """Whether the model answers all pictures with finite logits, in evaluation mode."""
    with borrow(model) as lent, torch.no_grad():
        return bool(lent(x).isfinite().all())


def check(losses: list[Tensor], now: Moment, options: TrainOptions) -> None:
    """Raise at the first of the last losses that is not finite; the last one is of this moment."""
    finite = torch.stack(losses).isfinite()
    if not bool(finite.all()):
        ago = len(losses) - 1 - int((~finite).nonzero()[0])
        raise diverged(options, str(replace(now, step=now.step - ago)))


def diverged(options: TrainOptions, where: str) -> ModelError:
    """The error for a loss that is NaN or infinite."""
    return ModelError(
        f"training: the loss is no longer finite at {where}; nothing of it is saved. learning_rate is "
        f"{options.peak:g}; try learning_rate={options.peak / 10:g}, and check that the pictures lie in [0, 1]."
    )
