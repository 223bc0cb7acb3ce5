"""Where a trained model comes from: train.json, and what its card says of the training."""

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from holdfast.access.borrow import home
from holdfast.data import Pictures
from holdfast.errors import RunError
from holdfast.files import dotted
from holdfast.models import Card
from holdfast.options import to_plain
from holdfast.train.course import Course
from holdfast.train.history import Epoch, best_of


def _recipe(course: Course) -> dict[str, Any]:
    return {
        **course.recipe.plain(),
        "seed": course.seed,
        "start": course.start,
    }


def _data(pictures: Pictures) -> dict[str, Any]:
    return {"name": pictures.name, "split": pictures.split, "n": len(pictures), "sha256": pictures.sha256()}


def _judge(course: Course) -> dict[str, Any] | None:
    """The attack that validation pictures are to withstand; None where none is made on them."""
    adversary = course.recipe.adversary
    if adversary is None or adversary.unlimited or not course.options.attacked:
        return None
    return {"name": adversary.judge.name, **to_plain(adversary.judge)}


def given(course: Course, pictures: Pictures, validation: Pictures | None) -> dict[str, Any]:
    """What decides the weights beside the model: the same in all processes, or they would not train one model."""
    return {
        **_recipe(course),
        "data": _data(pictures),
        "validation": _data(validation) if validation is not None else None,
    }


def check_alike(course: Course, pictures: Pictures, validation: Pictures | None) -> None:
    """Raise `RunError` in a process that was given something else than the first one."""
    if course.world.size == 1:
        return
    mine = dotted(json.loads(json.dumps(given(course, pictures, validation))))
    first = course.world.share(lambda: mine)
    other = [f"{n} was {first.get(n)!r}, now {mine.get(n)!r}" for n in {**first, **mine} if first.get(n) != mine.get(n)]
    if other:
        raise RunError(
            f"rank {course.world.rank} of {course.world.size} is not given what rank 0 is: {'; '.join(other)}; "
            "allowed: the same pictures, recipe and seed in all processes."
        )


def about(
    course: Course,
    model: nn.Module,
    card: Card,
    pictures: Pictures,
    validation: Pictures | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """train.json."""
    return {
        "format": 1,
        **given(course, pictures, validation),
        "judge": _judge(course) if validation is not None else None,
        "model": to_plain(replace(card, training={})),
        "provenance": _provenance(home(model, pictures.images), command),
    }


def training(course: Course, pictures: Pictures, history: Sequence[Epoch]) -> dict[str, Any]:
    """What the card says of the training: how it was made and how it scored."""
    origin = _provenance(torch.device("cpu"), ())
    return {
        "recipe": _recipe(course),
        "data": _data(pictures),
        "epochs": len(history),
        "scores": best_of(history, course.options.watch).plain(),
        "notes": [note for epoch in history for note in epoch.notes],
        "holdfast": origin["holdfast"],
        "torch": origin["torch"],
    }


def _provenance(device: torch.device, command: Sequence[str]) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("holdfast")
    except PackageNotFoundError:  # run from a source tree that was never installed
        own = "source"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "holdfast": own,
        "torch": str(torch.__version__),
        "device": name,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": list(command),
    }
