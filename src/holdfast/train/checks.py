"""Whether pictures, model and recipe fit each other, before training begins."""

import math

from torch import nn

from holdfast.augment import augmented
from holdfast.data import Pictures
from holdfast.errors import DataError, OptionError
from holdfast.models import check_answer
from holdfast.train.options import TrainOptions
from holdfast.train.penalties import Consistency
from holdfast.train.recipe import Recipe

BOX = (0.0, 1.0)  # of pictures as they are


def check_some(pictures: Pictures) -> None:
    """Raise `DataError` when there are no pictures."""
    if not len(pictures):
        raise DataError(
            f"{pictures.name}: no pictures in split {pictures.split!r}; allowed: at least one to train on. "
            "Check the split and the limit."
        )


def span(pictures: Pictures) -> tuple[float, float]:
    """The smallest and the largest value of all pictures, as the model sees them."""
    low, high = (float(value) for value in pictures.images.aminmax())
    return (low, high) if pictures.images.is_floating_point() else (low / 255, high / 255)


def check_scale(pictures: Pictures, box: tuple[float, float] = BOX) -> None:
    """Raise `DataError` for floats outside the box; bytes are always within [0, 1]."""
    low, high = span(pictures)
    if pictures.images.is_floating_point() and not box[0] <= low <= high <= box[1]:
        raise DataError(
            f"{pictures.name}: values from {low:g} to {high:g}; allowed: {box[0]:g} to {box[1]:g}. Divide 0-255 "
            "pictures by 255; normalisation belongs inside the model."
        )


def check_fit(
    model: nn.Module,
    pictures: Pictures,
    validation: Pictures | None,
    name: str,
    box: tuple[float, float] = BOX,
) -> None:
    """Raise unless pictures and validation agree and the model answers them with one logit a class.

    Raises: `DataError` for validation pictures of another kind; `ModelError` for a model that does not fit.
    """
    for part in [pictures] if validation is None else [pictures, validation]:
        check_some(part)
        check_scale(part, box)
    if validation is not None:
        kinds = [f"{tuple(part.shape)} in {len(part.classes)} classes" for part in (pictures, validation)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"{validation.name}: validation pictures of shape {kinds[1]}; allowed: as the training pictures, "
                f"{kinds[0]}. Take both from one data set."
            )
    check_answer(model, pictures.shape, len(pictures.classes), name)


def check_ends(box: tuple[float, float]) -> None:
    """Raise `OptionError` unless a box has a lower end and an upper one."""
    if not -math.inf < box[0] < box[1] < math.inf:
        raise OptionError(f"train: box={box!r}; allowed: two finite numbers, the smaller one first. Pass box=(-1, 1).")


def check_box(recipe: Recipe, box: tuple[float, float], pictures: Pictures) -> None:
    """Raise `OptionError` for a box that a part of the recipe would cut pictures to, or take them to be within."""
    low, high = box
    least, most = span(pictures)
    for threat in () if recipe.adversary is None else recipe.adversary.threats:
        if not threat.low <= least <= most <= threat.high:
            raise OptionError(
                f"train: pictures in [{least:g}, {most:g}] and a threat in [{threat.low:g}, {threat.high:g}]; allowed: "
                f"a threat whose box holds the pictures. Give it low={low:g} and high={high:g}."
            )
    distorting = [one.name for one in recipe.augment]
    distorting += [penalty.name for penalty in recipe.penalties if isinstance(penalty, Consistency)]
    if distorting and not BOX[0] <= low < high <= BOX[1]:
        raise OptionError(
            f"train: {distorting[0]} on pictures in [{low:g}, {high:g}]; allowed: on pictures in [0, 1], which it "
            "cuts them to. Leave it out, or rescale the pictures."
        )


def check_recipe(
    recipe: Recipe, pictures: Pictures, validation: Pictures | None, empty_classes: bool, size: int = 1
) -> None:
    """Raise where a recipe asks for validation pictures that are not there, or the pictures do not suffice for it.

    Several processes, `size` of them, need a batch that they can share evenly.

    Raises: `OptionError` for the first; `DataError` for fewer pictures than a batch, or a class without any.
    """
    options = recipe.options
    asked = f"watch={options.watch!r}" if options.watch != "none" else "schedule='plateau'"
    if validation is None and (options.watch != "none" or options.schedule == "plateau"):
        raise OptionError(f"train: {asked} without validation pictures; allowed: with them. Pass validation=.")
    if len(pictures) < options.batch:
        raise DataError(
            f"{pictures.name}: {len(pictures)} pictures are fewer than a batch of {options.batch}; allowed: batches of "
            f"at most all pictures. Pass batch={len(pictures)}, or more pictures."
        )
    # Once beforehand: some know no grey pictures, and none should say so only when training has begun.
    augmented(pictures.x([0]), recipe.augment, seed=0, place=pictures.place[:1])
    _check_shares(options, size)
    counts = pictures.labels.bincount(minlength=len(pictures.classes)).tolist()
    empty = [name for name, count in zip(pictures.classes, counts, strict=True) if not count]
    if empty and not empty_classes:
        raise DataError(
            f"{pictures.name}: no training pictures of class {', '.join(map(repr, empty))}; allowed: at least one of "
            "each. Raise the limit, or leave the class out."
        )


def _check_shares(options: TrainOptions, size: int) -> None:
    """Raise `OptionError` for a batch that several processes cannot share evenly, ghost batches whole."""
    if size == 1 or options.batch % (least := size * (options.ghost or 1)) == 0:
        return
    what = f"ghost={options.ghost} and {size} processes" if options.ghost else f"{size} processes"
    near = max(least, options.batch // least * least)
    raise OptionError(
        f"TrainOptions: batch={options.batch} with {what}; allowed: multiples of {least}, so that all get the same "
        f"share. Pass batch={near}, or launch another number of processes."
    )
