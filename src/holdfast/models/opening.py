"""What `--model NAME|RUN|FILE.py:FACTORY` means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError, OptionError, unknown
from holdfast.models.cards import CARD, Card, load
from holdfast.models.catalogue import ARCHITECTURES, architecture, build
from holdfast.models.normalized import PIXELS, Normalized
from holdfast.models.parts import Shape
from holdfast.models.user import is_user_model, load_user
from holdfast.models.user_net import sha256_of
from holdfast.models.weights import fit, read_weights
from holdfast.options import to_plain


@dataclass(frozen=True)
class Opened:
    """A model with its weights, and where it came from."""

    model: nn.Module
    card: Card | None  # for a model folder
    source: str  # what the user gave


def open_model(
    text: str,
    weights: Path | str | None = None,
    *,
    shape: Shape | None = None,
    classes: int | None = None,
    options: Mapping[str, object] | None = None,
) -> Opened:
    """A model folder, a `FILE.py:FACTORY`, or a registered name with weights, tried on two grey pictures.

    Args: `shape` (C, H, W) and number of `classes` of the data, needed for a registered name and checked for
    the others when given; `options` of the architecture, for a registered name. Weights saved around
    `Normalized` bring mean and std along. Returns the model on the CPU; a module the user's file made stays
    in the mode it is in.
    Raises: `ModelError` and `OptionError`, one line each. Cost: one forward pass when shape and classes are
    given.
    """
    card = None
    if is_user_model(text):
        _refuse(text, options=options)
        model = load_user(text, weights)
    elif text in ARCHITECTURES and (weights is not None or not (Path(text) / CARD).is_file()):
        model = _named(text, weights, shape, classes, options)
    else:
        _refuse(text, weights=weights, options=options)
        model, card = _folder(text, shape, classes)
    if shape is not None and classes is not None:
        check_answer(model, shape, classes, text)
    return Opened(model, card, text)


def card_of(
    opened: Opened, shape: Shape, classes: tuple[str, ...], options: Mapping[str, object] | None = None
) -> Card:
    """The card of an opened model that came without one, so that it can be saved as a model folder.

    Args: `shape` and `classes` of the data; `options` that a registered architecture was opened with. A FILE.py:FACTORY
    is named by its file's hash, and runs again when the folder is loaded.
    Raises: `OptionError` for options that do not exist.
    """
    if is_user_model(opened.source):
        given: Mapping[str, object] = {"sha256": sha256_of(opened.source)}
        return Card(architecture=opened.source, options=given, shape=shape, classes=classes)
    mean: tuple[float, ...] | Literal["pixels"] | None = None
    std = None
    if isinstance(opened.model, Normalized):
        single = opened.model.mean.numel() == shape[0]
        mean = tuple(opened.model.mean.flatten().tolist()) if single else PIXELS
        std = tuple(opened.model.std.flatten().tolist())
    record = to_plain(architecture(opened.source, options))
    return Card(architecture=opened.source, options=record, shape=shape, classes=classes, mean=mean, std=std)


def _refuse(text: str, **given: object) -> None:
    for name, value in given.items():
        if value:
            raise OptionError(
                f"model {text!r}: {name} given; allowed only with a registered name"
                f"{' or FILE.py:FACTORY' if name == 'weights' else ''}. Leave {name} out."
            )


def _named(
    name: str,
    weights: Path | str | None,
    shape: Shape | None,
    classes: int | None,
    options: Mapping[str, object] | None,
) -> nn.Module:
    architecture(name, options)
    if weights is None:
        raise OptionError(
            f"model {name!r} is an architecture without weights. Train one first, `holdfast train --model "
            f"{name} --data DATA --out RUN`, and pass RUN; or give its weights file."
        )
    if shape is None or classes is None:
        raise OptionError(f"model {name!r}: shape={shape!r}, classes={classes!r}; both are needed to build it.")
    state = read_weights(weights)
    mean, std = ([float(value) for value in state[key].flatten()] if key in state else None for key in ("mean", "std"))
    pictured = mean is not None and len(mean) == math.prod(shape) > shape[0]
    model = build(name, options, shape=shape, classes=classes, mean=PIXELS if pictured else mean, std=std, seed=0)
    fit(model, state, f"weights {str(weights)!r}")
    return model.eval()


def _folder(text: str, shape: Shape | None, classes: int | None) -> tuple[nn.Module, Card]:
    if not Path(text).exists():
        if any(mark in text for mark in "/\\:."):
            raise ModelError(
                f"model {text!r}: no such folder, seen from {str(Path.cwd())!r}; allowed: a folder that "
                f"training wrote, FILE.py:FACTORY, or one of {', '.join(ARCHITECTURES)} with weights."
            )
        known = unknown("model", text, ARCHITECTURES)
        raise OptionError(f"{known} Nor is a folder {text!r} there, seen from {str(Path.cwd())!r}.")
    model, card = load(text)
    if shape is not None and tuple(shape) != card.shape:
        raise ModelError(
            f"model {text!r} takes pictures of shape {card.shape}, the data have {tuple(shape)}. "
            "Choose the data it was trained on, or resize them."
        )
    if classes is not None and classes != len(card.classes):
        raise ModelError(
            f"model {text!r} knows {len(card.classes)} classes, the data have {classes}. "
            "Choose the data it was trained on, or train one on these."
        )
    return model, card


def check_answer(model: nn.Module, shape: Shape, classes: int, name: str) -> None:
    """Ask for the logits of two grey pictures; the mode of every module is given back as found.

    Raises: `ModelError` when the model fails, or the answer is not (2, classes), floating and free of NaN.
    """
    like = next(model.parameters(), None)
    device = like.device if like is not None else "cpu"
    dtype = like.dtype if like is not None and like.dtype.is_floating_point else None
    x = torch.full((2, *shape), 0.5, device=device, dtype=dtype)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            logits = model(x)
    except ModelError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(
            f"model {name!r} failed on pictures of shape {tuple(shape)}: {type(error).__name__}: {text}. "
            "Allowed: a model from pictures (N, C, H, W) of the data's shape to logits (N, K)."
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    _check_logits(logits, classes, name)


def _check_logits(logits: object, classes: int, name: str) -> None:
    if not isinstance(logits, Tensor):
        raise ModelError(f"model {name!r} returned {type(logits).__name__}; allowed: a tensor of logits (N, K).")
    if logits.shape != (2, classes) or not logits.is_floating_point():
        dtype = str(logits.dtype).removeprefix("torch.")
        raise ModelError(
            f"model {name!r} answered two pictures with {tuple(logits.shape)} {dtype}; allowed: floating "
            f"logits of shape (2, {classes}), a row a picture and a column a class of the data."
        )
    if logits.isnan().any():
        raise ModelError(f"model {name!r} answered a grey picture with NaN; its weights or its arithmetic are broken.")
