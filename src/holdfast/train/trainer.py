"""The door to training: `train`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from holdfast.access.borrow import home
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.files import alone
from holdfast.models import Card, fit, weights_sha256
from holdfast.options import to_plain
from holdfast.processes import joined, placed
from holdfast.train.about import about, check_alike, training
from holdfast.train.checks import BOX, check_box, check_ends, check_fit, check_recipe
from holdfast.train.course import Course
from holdfast.train.epochs import epochs
from holdfast.train.folder import Folder, begin
from holdfast.train.history import Epoch
from holdfast.train.loggers import Logger
from holdfast.train.recipe import Recipe
from holdfast.train.start import begin_with, channels_last, on_device
from holdfast.train.state import State
from holdfast.train.world import world_of

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all epochs)."""


@dataclass(frozen=True)
class Trained:
    """A trained model and how it came about."""

    model: nn.Module  # in evaluation mode, on the device it was trained on
    card: Card | None  # None for a module that came without one
    history: tuple[Epoch, ...]  # one entry an epoch, also of earlier starts
    folder: Path | None
    seconds: float  # of this call


def train(
    model: Card | nn.Module,
    pictures: Pictures,
    *,
    recipe: Recipe | None = None,
    weights: Mapping[str, Tensor] | None = None,
    validation: Pictures | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    empty_classes: bool = False,
    box: tuple[float, float] = BOX,
    command: Sequence[str] = (),
    progress: Progress | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    loggers: Sequence[Logger] = (),
) -> Trained:
    """Train a classifier by a recipe: on the pictures, or on adversarial ones made from them as it goes.

    Args: `model` a card (see `card_for`), whose model is made with weights drawn from `seed`, or a module, which is
    trained in place; `recipe` what is done, by default the usual options and cross-entropy; `weights`, such as another
    model's `state_dict()`, are those to begin with, for a card in the place of drawn ones; `validation` is scored
    after each epoch and decides nothing, unless the recipe says so (`watch`, `plateau`); `seed` decides first weights,
    order, dropout and noise, and no global generator is left changed; `device` for the model of a card, the CPU if
    None; `out` a folder for the run, which needs a card; `resume` goes on with a run that was killed, to the same
    weights on a CPU with the same number of threads; `empty_classes` allows classes without a training picture;
    `box` the least and largest value that float pictures may hold: another one for pictures on another scale, whose
    threats then state it too, or for such as were moved beforehand and not cut; augmentations want [0, 1]; `command`
    (its words) goes on record; `on_epoch` is called after each epoch; `loggers` (see `logger`) are told of recipe and
    epochs. The weights are those after the last epoch, or of the best one where one is watched.

    Under `torchrun` all processes call it alike and each takes its part of every batch, which they must be able to
    share evenly; each returns the model. `device="cuda"` means a GPU for each. The first one writes the folder and is
    the one that calls `progress` and `on_epoch`. Batch norm takes the part of a process together, or `ghost` pictures.

    Raises: `OptionError`, `DataError`, `ModelError` for input that cannot be trained; `ModelError` when the loss is
    not finite any more, with the step; `RunError` when `out` cannot be written, or was begun with another recipe.
    Cost: an epoch is one forward and one backward pass a picture, and the passes of adversary and penalties besides.
    Source: adversarial training cf. Madry et al. 2018, arXiv:1706.06083, sec. 2.
    """
    net, card = _made(model, pictures, weights, seed, device, out)
    start = None if weights is None else weights_sha256(net)
    here = home(net, pictures.images)
    with joined(here) as met, world_of(met, here) as world:
        course = Course(recipe or Recipe(), seed, world, start)
        check_ends(box)
        check_fit(net, pictures, validation, card.architecture if card else type(net).__name__, box)
        check_box(course.recipe, box, pictures)
        check_recipe(course.recipe, pictures, validation, empty_classes, course.world.size)
        check_alike(course, pictures, validation)
        folder = None
        if out is not None and card is not None and not course.world.rank:  # the first of several processes writes
            folder = begin(out, about(course, net, card, pictures, validation, command), resume=resume)
        work = Work(net, card, pictures, validation, course, folder, resume, progress, listening(on_epoch, loggers))
        path = None if out is None else Path(out)
        if (done := course.world.share(folder.finished if folder else lambda: None)) is not None:
            net.load_state_dict(done["weights"])
            history = tuple(Epoch.read(epoch) for epoch in done["history"])
            return Trained(net.eval(), Card(**done["card"]), history, path, 0.0)
        begun = perf_counter()
        told = () if course.world.rank else loggers
        with nullcontext() if folder is None else alone(folder.path), logged(told, course):
            card, history = work.do()
        return Trained(net.eval(), card, history, path, perf_counter() - begun)


def _made(
    model: Card | nn.Module,
    pictures: Pictures,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    device: torch.device | str | None,
    out: Path | str | None,
) -> tuple[nn.Module, Card | None]:
    """The module to train and its card."""
    where = None if device is None else placed(torch.device(device))
    if isinstance(model, Card):
        net = model.build(seed)
        begin_with(net, model, pictures, weights)
        return net.to(where or "cpu"), model
    if weights is not None:
        fit(model, weights, "the weights to begin with")
    if out is not None:
        raise OptionError(
            "train: out given for a module without a card; allowed: with a card, which says how to build the model "
            "again. Pass card_for(...), or leave out out and save the weights yourself."
        )
    return (model if where is None else model.to(where)), None


@contextmanager
def logged(loggers: Sequence[Logger], course: Course) -> Iterator[None]:
    """Tell loggers of the beginning and, whatever comes, of the end."""
    with ExitStack() as begun:
        for logger in loggers:
            begun.callback(logger.end)
            logger.begin(course.recipe.plain())
        yield


def listening(on_epoch: Callable[[Epoch], None] | None, loggers: Sequence[Logger]) -> Callable[[Epoch], None]:
    """Tell all of them of an epoch, the caller last, as it may have had enough."""

    def heard(epoch: Epoch) -> None:
        for logger in loggers:
            logger.epoch(epoch)
        if on_epoch is not None:
            on_epoch(epoch)

    return heard


@dataclass(frozen=True)
class Work:
    """What there is to do, in this process: the folder and who is told are the first one's."""

    model: nn.Module
    card: Card | None
    pictures: Pictures
    validation: Pictures | None
    course: Course
    folder: Folder | None
    resume: bool
    progress: Progress | None
    on_epoch: Callable[[Epoch], None]

    def do(self) -> tuple[Card | None, tuple[Epoch, ...]]:
        """Train, leave the weights to keep in the model, and write what is to be written; the card and the history."""
        state = self.begun()
        self.train(state)
        kept, last = state.results(self.course.options)
        self.model.load_state_dict(kept)
        if self.card is None:
            return None, state.history
        card = replace(self.card, training=training(self.course, self.pictures, state.history))
        other = None if last is kept else last
        folder = self.folder
        written = self.course.world.share(lambda: to_plain(folder.finish(self.model, card, other) if folder else card))
        return Card(**written), state.history

    def begun(self) -> State:
        """Where it stands, the same in all processes."""
        if self.course.options.channels_last:
            channels_last(self.model)
        state = State.begin(self.model, self.course.options, home(self.model, self.pictures.images))
        if self.folder is not None:
            self.folder.restore(state)
        state.alike(self.course.world)
        return state

    def train(self, state: State) -> None:
        """All epochs that are left, each kept in the folder before the next begins."""
        device = home(self.model, self.pictures.images)
        pictures = on_device(self.pictures, device)
        validation = None if self.validation is None else on_device(self.validation, device)
        keep = self.folder.keep if self.folder else lambda state: None
        earlier = self.folder.starts() if self.folder else []
        seconds: list[float] = []
        begun = perf_counter()
        for epoch in epochs(state, pictures, validation, self.course, keep, self.tick(state)):
            seconds.append(perf_counter() - begun)
            if self.folder is not None:
                self.folder.time(earlier, seconds, resumed=self.resume, last=epoch.number)
            if not self.course.world.rank:
                self.on_epoch(epoch)
            begun = perf_counter()

    def tick(self, state: State) -> Callable[[int], None]:
        """Tells how far it is, given the pictures done since the last call."""
        count, options, progress = len(self.pictures), self.course.options, self.progress
        seen = count * len(state.history) + min(options.batch * state.step, count)

        def tick(more: int) -> None:
            nonlocal seen
            seen += more
            if progress is not None and not self.course.world.rank:
                progress(seen, count * options.epochs)

        return tick
