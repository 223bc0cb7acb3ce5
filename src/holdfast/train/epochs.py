"""Epoch after epoch: shuffled batches, a rate for each step, scores at the end, and a state that is kept as it goes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from time import monotonic

import torch
from torch import Tensor, nn

from holdfast.access.borrow import float_type
from holdfast.data import Pictures
from holdfast.train.averaging import after_epoch, after_step, judged
from holdfast.train.course import Course, Moment
from holdfast.train.cut import batches, rows_of
from holdfast.train.finite import broken, diverged
from holdfast.train.history import Epoch, stalled
from holdfast.train.overfitting import notes_on
from holdfast.train.passes import counted
from holdfast.train.schedule import rate
from holdfast.train.scores import scores
from holdfast.train.state import State
from holdfast.train.steps import one_step

STEPS_BETWEEN_LOOKS = {"cuda": 50}  # a look at the losses waits for the device
FEW_STEPS = 10  # of any other device, where it costs a small network more than nothing
SECONDS_BETWEEN_KEEPS = 60.0
LOOKS_BETWEEN_TALKS = 2  # of several processes, whether it is time to keep the state; one needs to ask nobody

Keep = Callable[[State], None]
"""Called with a state that is whole and sound, after every epoch and now and then in between."""

Tick = Callable[[int], None]
"""Called with the number of pictures done since the last call."""


def epochs(
    state: State,
    pictures: Pictures,
    validation: Pictures | None,
    course: Course,
    keep: Keep,
    tick: Tick | None = None,
) -> Iterator[Epoch]:
    """All epochs that are left, each kept before it is given out."""
    options = course.options
    while state.epoch <= options.epochs and not stalled(state.history, options.watch, options.patience):
        found = one_epoch(state, pictures, course, keep, tick)
        shown = partial(plain_batches, state.model, pictures, options.batch)
        after_epoch(state.average, state.model, options, found.number, shown)
        clean, robust = scores(judged(state.average, state.model), validation, course)
        found = replace(found, validation=clean, robust=robust)
        found = replace(found, notes=notes_on((*state.history, found), options, len(pictures.classes)))
        state.finish_epoch(found, options)
        keep(state)
        yield state.history[-1]


def agreed(due: bool, step: int, course: Course, device: torch.device) -> bool:
    """Whether the state is to be kept now, of which the first process decides; all are asked at the same steps."""
    world = course.world
    if world.size == 1:
        return due
    looks = LOOKS_BETWEEN_TALKS * STEPS_BETWEEN_LOOKS.get(device.type, FEW_STEPS)
    return step % looks == 0 and bool(world.total(torch.tensor(float(due and not world.rank), device=device)))


def kept_with(keep: Keep, state: State, course: Course) -> None:
    """Keep a state in the middle of an epoch, with the sums of all processes."""
    keep(replace(state, tally=state.tally.whole(course.world)))


def one_epoch(state: State, pictures: Pictures, course: Course, keep: Keep, tick: Tick | None = None) -> Epoch:
    """Train on every picture once, or on those that an interrupted epoch has left.

    Raises: `ModelError` with the step at which the loss stopped being finite.
    """
    model, options, number = state.model, course.options, state.epoch
    parts = batches(len(pictures), options.batch, course.key(number, "order"))
    errors = [1 - epoch.validation.rate for epoch in state.history if epoch.validation is not None]
    device = pictures.images.device
    looks = STEPS_BETWEEN_LOOKS.get(device.type, FEW_STEPS)
    unseen: list[Tensor] = []  # losses that nobody has looked at
    kept = monotonic()
    model.train()
    with counted(model) as passes:
        for done, rows in enumerate(parts[state.step :], start=state.step + 1):
            now = Moment(number, done, len(parts))
            size = rate(options, now.share(options), errors)
            for group in state.optimiser.param_groups:
                group["lr"] = size
            outcome = one_step(model, state.optimiser, pictures, rows, course, now)
            after_step(state.average, model, options)
            state.tally.add(outcome)
            state.step = done
            unseen.append(outcome.loss)
            if done % looks == 0 or done == len(parts):
                check(unseen, now, course, parts)
                unseen = []
                if agreed(monotonic() - kept > SECONDS_BETWEEN_KEEPS, done, course, device) and not broken(model):
                    state.tally.go(passes)
                    kept_with(keep, state, course)
                    kept = monotonic()
            if tick is not None:
                tick(len(rows))
        state.tally.go(passes)
    if broken(model):
        raise diverged(options, f"the last step of epoch {number}")
    last = Moment(number, len(parts), len(parts)).share(options)
    return state.tally.whole(course.world).epoch(number, len(pictures), rate(options, last, errors))


def check(losses: list[Tensor], now: Moment, course: Course, parts: list[Tensor]) -> None:
    """Raise at the first of the last losses, of any process, that is not finite; the last one is of this moment."""
    finite = course.world.largest((~torch.stack(losses).isfinite()).float()) == 0
    if not bool(finite.all()):
        step = now.step - (len(losses) - 1 - int((~finite).nonzero()[0]))
        raise diverged(course.options, str(replace(now, step=step)), parts[step - 1])


def plain_batches(model: nn.Module, pictures: Pictures, batch: int) -> Iterator[Tensor]:
    """All training pictures as they are, in order."""
    for rows in rows_of(pictures, max(256, batch)):
        yield pictures.x(rows, float_type(model))
