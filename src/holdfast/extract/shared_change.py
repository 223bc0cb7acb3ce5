"""One change for all pictures: how it is added to them, kept within its radius, fitted, and how many it fools."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.access import Access, borrow
from holdfast.access.borrow import Model, home
from holdfast.access.floats import picture_type, takes_float32
from holdfast.attacks.check import check_answer, check_pictures
from holdfast.attacks.engine import usable
from holdfast.attacks.lent import Lent
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.threats import AnyThreat, Rendered, Threat
from holdfast.train.history import Count

Progress = Callable[[int, int], None]
"""Called with (passes over the pictures done, passes in all)."""


@dataclass(frozen=True)
class Task:
    """What a change is fitted to."""

    model: Model  # lent, counted
    x: Tensor  # (N, C, H, W)
    goal: Goal  # to leave what the model says of the picture, or to reach a class
    threat: Threat  # one radius
    place: Tensor  # (N,) int64, of each picture in its full set
    seed: int
    batch: int  # the most pictures in a call of the model


@runtime_checkable
class Fit(Protocol):
    """A way to fit a universal perturbation: a frozen record of options."""

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    @property
    def norms(self) -> tuple[str, ...]:
        """The threats it has a form for."""
        ...

    @property
    def epochs(self) -> int:
        """The most passes over the pictures."""
        ...

    @property
    def pictures(self) -> int:
        """How many pictures it is fitted on."""
        ...

    @property
    def enough(self) -> float:
        """The share of fooled pictures at which it ends."""
        ...

    def changes(self, task: Task) -> Iterator[Tensor]:
        """The change (1, C, H, W) after each pass over the pictures, inside the radius."""
        ...


@dataclass(frozen=True)
class Fitted:
    """A universal perturbation, and how it came about."""

    delta: Tensor  # (C, H, W), on the CPU
    threat: Threat  # within whose radius it lies
    target: int | None  # the class to be reached, None for any other
    fooled: Count  # pictures of the fit that it fools
    history: tuple[int, ...]  # how many were fooled after each pass over them
    forward: int  # passes of the fit
    backward: int
    by: Fit | None = None  # what fitted it; None for one from a file


def fit(
    by: Fit,
    model: Model,
    pictures: Pictures,
    threat: AnyThreat,
    *,
    target: int | None = None,
    seed: int = 0,
    batch: int = 256,
    progress: Progress | None = None,
) -> Fitted:
    """Fit one change to the first `by.pictures` pictures and keep the best after any pass over them.

    A picture is fooled when the model takes it for another class than before, whatever its label; with `target`, when
    for that one. The same seed gives the same change, whatever `batch`, up to rounding.

    Args: `model` pictures (N, C, H, W) to logits; `pictures` in the threat's box; `threat` norm, radius and box;
    `target` a class number; `seed` of the order; `batch` pictures a call of the model.
    Raises: `OptionError` for a threat that `by` has no form for, or a target that the model does not have; `DataError`
    and `ModelError` as `holdfast.attacks.run`. Cost: that of `by`, and a forward pass a picture for the class before.
    """
    if isinstance(threat, Rendered) or threat.name not in by.norms or isinstance(threat.eps, Tensor):
        raise OptionError(
            f"{by.name}: threat {threat.name!r}, eps={threat.eps!r}; allowed: one radius in {', '.join(by.norms)}. "
            "Choose another threat."
        )
    if float(threat.eps) == 0:
        raise OptionError(f"{by.name}: eps=0.0; allowed: a radius above 0, or nothing can change.")
    few = pictures.take(slice(0, by.pictures))
    here = home(model, few.images)
    x = few.x(dtype=picture_type(model)).to(here)
    check_pictures(x, few.labels.to(here), threat, batch)
    with borrow(takes_float32(model)) as whole, torch.inference_mode(False), torch.no_grad():
        lent = Lent(whole, Access.GRADIENT)
        before = predictions(lent, x, batch)
        check_target(target, lent, x)
        goal = Goal(before, None if target is None else torch.full_like(before, target))
        task = Task(lent, usable(x), goal, threat, few.place.to(here), seed, batch)
        best, history = _best(by, task, before, progress)
    count = Count(max(history), len(x))
    return Fitted(best.cpu(), threat, target, count, tuple(history), lent.forwards, lent.backwards, by)


def _best(by: Fit, task: Task, before: Tensor, progress: Progress | None) -> tuple[Tensor, list[int]]:
    """The change (C, H, W) that fooled most, the last of equal ones, and how many each fooled."""
    best, history = task.x[0], [-1]
    for number, delta in enumerate(by.changes(task), start=1):
        after = predictions(task.model, added(task.x, delta, task.threat), task.batch)
        fooled = int(is_fooled(before, after, task.goal.target).sum())
        best = delta[0] if fooled >= max(history) else best
        history.append(fooled)
        done = fooled >= by.enough * len(before)
        if progress is not None:
            progress(by.epochs if done else number, by.epochs)
        if done:
            break
    return best, history[1:]


def fooled(model: Model, fitted: Fitted, pictures: Pictures, *, batch: int = 256) -> Count:
    """How many of some pictures, such as held-out ones, the change fools. Cost: two forward passes a picture."""
    here = home(model, pictures.images)
    x = pictures.x(dtype=picture_type(model)).to(here)
    check_shape(fitted.delta, x)
    with borrow(takes_float32(model)) as lent, torch.no_grad():
        before = predictions(lent, x, batch)
        after = predictions(lent, added(x, fitted.delta[None].to(x), fitted.threat), batch)
    target = None if fitted.target is None else torch.full_like(before, fitted.target)
    return Count(int(is_fooled(before, after, target).sum()), len(x))


def is_fooled(before: Tensor, after: Tensor, target: Tensor | None) -> Tensor:
    """(N,) bool: another class than before; with a target, that one, of pictures that were not taken for it before."""
    return after != before if target is None else (after == target) & (before != target)


def added(x: Tensor, delta: Tensor, threat: Threat) -> Tensor:
    """The pictures (N, C, H, W) changed by `delta` (1, C, H, W), cut to the box; and to the radius, which rounds."""
    return threat.project(x + delta, x)


def brought_inside(delta: Tensor, threat: Threat) -> Tensor:
    """The nearest change (1, C, H, W) of a size within the radius; no picture's box plays a part."""
    return threat.shorten(delta, torch.full_like(delta.flatten(1)[:, 0], float(threat.eps)))


def predictions(model: Model, x: Tensor, batch: int) -> Tensor:
    """(N,) int64: what the model takes pictures for."""
    return logits_of(model, x, batch).argmax(1)


def logits_of(model: Model, x: Tensor, batch: int) -> Tensor:
    """(N, K), in calls of at most `batch` pictures."""
    with torch.no_grad():
        return torch.cat([model(part.clone()) for part in x.split(batch)])


def check_target(target: int | None, model: Model, x: Tensor) -> None:
    """Raise `OptionError` unless the target is a class of the model, and `ModelError` where it is not finite."""
    goal = Goal(torch.zeros_like(x[:1].flatten(1)[:, 0], dtype=torch.int64))
    classes = check_answer(logits_of(model, x[:1], 1), goal).shape[1]
    if target is not None and not 0 <= target < classes:
        raise OptionError(f"universal: target={target!r}; allowed: a class of the model, 0 to {classes - 1}.")


def check_shape(delta: Tensor, x: Tensor) -> None:
    """Raise `OptionError` unless a change has the shape of the pictures."""
    if delta.shape != x.shape[1:]:
        raise OptionError(
            f"universal: a change of shape {tuple(delta.shape)} for pictures of shape {tuple(x.shape[1:])}; allowed: "
            "the same. Fit one on such pictures."
        )
