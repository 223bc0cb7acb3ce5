"""The door to training: `train`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from holdfast.train.about import about, training
from holdfast.train.epochs import epochs
from holdfast.train.folder import Folder, begin
from holdfast.train.history import Epoch
from holdfast.train.recipe import Recipe
from holdfast.train.start import begin_with, channels_last, check_fit, check_recipe, on_device
from holdfast.train.state import State
from holdfast.train.steps import Course

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
    command: Sequence[str] = (),
    progress: Progress | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a classifier by a recipe: on the pictures, or on adversarial ones made from them as it goes.

    Args: `model` a card (see `card_for`), whose model is made with weights drawn from `seed`, or a module, which is
    trained in place; `recipe` what is done, by default the usual options and cross-entropy; `weights`, such as another
    model's `state_dict()`, are those to begin with, for a card in the place of drawn ones; `validation` is scored
    after each epoch and decides nothing, unless the recipe says so (`watch`, `plateau`); `seed` decides first weights,
    order, dropout and noise, and no global generator is left changed; `device` for the model of a card, the CPU if
    None; `out` a folder for the run, which needs a card; `resume` goes on with a run that was killed, to the same
    weights on a CPU with the same number of threads; `empty_classes` allows classes without a training picture;
    `command` (its words) goes on record; `on_epoch` is called after each epoch. The weights are those after the last
    epoch, or of the best one where one is watched.

    Raises: `OptionError`, `DataError`, `ModelError` for input that cannot be trained; `ModelError` when the loss is
    not finite any more, with the step; `RunError` when `out` cannot be written, or was begun with another recipe.
    Cost: an epoch is one forward and one backward pass a picture, and the passes of adversary and penalties besides.
    Source: adversarial training cf. Madry et al. 2018, arXiv:1706.06083, sec. 2.
    """
    recipe = recipe or Recipe()
    net, card = _made(model, pictures, weights, seed, device, out)
    course = Course(recipe, seed, start=None if weights is None else weights_sha256(net))
    check_fit(net, pictures, validation, card.architecture if card else type(net).__name__)
    check_recipe(recipe, pictures, validation, empty_classes)
    folder = None
    if out is not None and card is not None:
        folder = begin(out, about(course, net, card, pictures, validation, command), resume=resume)
        if (done := folder.finished()) is not None:
            return Trained(done[0].to(home(net, pictures.images)), done[1], done[2], folder.path, 0.0)
    begun = perf_counter()
    with nullcontext() if folder is None else alone(folder.path):
        state = _run(net, pictures, validation, course, folder, resume, progress, on_epoch)
        kept, last = state.results(course.options)
        net.load_state_dict(kept)
        if card is not None:
            card = replace(card, training=training(course, pictures, state.history))
            card = folder.finish(net, card, None if last is kept else last) if folder else card
    return Trained(net.eval(), card, state.history, folder.path if folder else None, perf_counter() - begun)


def _made(
    model: Card | nn.Module,
    pictures: Pictures,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    device: torch.device | str | None,
    out: Path | str | None,
) -> tuple[nn.Module, Card | None]:
    """The module to train and its card."""
    if isinstance(model, Card):
        net = model.build(seed)
        begin_with(net, model, pictures, weights)
        return net.to(device or "cpu"), model
    if weights is not None:
        fit(model, weights, "the weights to begin with")
    if out is not None:
        raise OptionError(
            "train: out given for a module without a card; allowed: with a card, which says how to build the model "
            "again. Pass card_for(...), or leave out out and save the weights yourself."
        )
    return (model if device is None else model.to(device)), None


def _run(
    model: nn.Module,
    pictures: Pictures,
    validation: Pictures | None,
    course: Course,
    folder: Folder | None,
    resume: bool,
    progress: Progress | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> State:
    """All epochs that are left, each kept in the folder before the next begins."""
    device, options = home(model, pictures.images), course.options
    if options.channels_last:
        channels_last(model)
    pictures = on_device(pictures, device)
    validation = None if validation is None else on_device(validation, device)
    state = State.begin(model, options, device)
    if folder is not None:
        folder.restore(state)
    seen = len(pictures) * len(state.history) + min(options.batch * state.step, len(pictures))
    seconds: list[float] = []
    earlier = folder.starts() if folder else []

    def tick(count: int) -> None:
        nonlocal seen
        seen += count
        if progress is not None:
            progress(seen, len(pictures) * options.epochs)

    keep = folder.keep if folder else lambda state: None
    begun = perf_counter()
    for epoch in epochs(state, pictures, validation, course, keep, tick):
        seconds.append(perf_counter() - begun)
        if folder is not None:
            folder.time(earlier, seconds, resumed=resume, last=epoch.number)
        if on_epoch is not None:
            on_epoch(epoch)
        begun = perf_counter()
    return state
