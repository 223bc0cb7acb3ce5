"""A trained model as a folder: `model.safetensors` and `card.json`, written whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from holdfast.errors import HoldfastError, ModelError, OptionError
from holdfast.files import dump_json, sha256, sha256_of_file, write_atomically
from holdfast.models import maps
from holdfast.models.catalogue import architecture, build, outline
from holdfast.models.parts import Shape
from holdfast.models.recalibrated import Recalibrated
from holdfast.models.weights import fit, read_weights
from holdfast.options import to_plain

CARD = "card.json"
WEIGHTS = "model.safetensors"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model is, so that it can be built again: architecture, options, pictures, classes, training.

    `options` are fields of the architecture's record; `training` is plain JSON (recipe, scores) that nothing
    here reads; `recalibration` has name and sizes of the map that the logits go through (`maps.named`), under `map`,
    and else plain JSON on how it was fitted.
    Raises: `OptionError` for an unknown architecture, a shape, class list or normalisation that cannot be.
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shape: Shape
    classes: tuple[str, ...]  # names, in order of the logits
    # A number a channel, or the mean picture that is among the weights; None: the model does not normalise.
    mean: tuple[float, ...] | Literal["pixels"] | None = None
    std: tuple[float, ...] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    recalibration: Mapping[str, Any] | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse what no model can be built from; lists count as tuples."""
        for name in ("shape", "classes", "mean", "std"):
            if isinstance(getattr(self, name), Sequence) and not isinstance(getattr(self, name), str):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.classes, tuple) or not all(isinstance(name, str) for name in self.classes):
            raise OptionError(f"Card: classes={self.classes!r}; allowed: the names of the classes, in order.")
        self.outline()

    def build(self, seed: int | None = None) -> nn.Module:
        """A fresh model of this card, with untrained weights (see `catalogue.build`)."""
        return self._mapped(build(**self._arguments(), seed=seed))

    def outline(self) -> nn.Module:
        """The same without memory behind its weights: their names and shapes only."""
        with torch.device("meta"):
            return self._mapped(outline(**self._arguments()))

    def _mapped(self, model: nn.Module) -> nn.Module:
        return model if self.recalibration is None else Recalibrated(model, maps.build(self.recalibration["map"]))

    def _arguments(self) -> dict[str, Any]:
        return {
            "name": self.architecture,
            "options": self.options,
            "shape": self.shape,
            "classes": len(self.classes),
            "mean": self.mean,
            "std": self.std,
        }


def save(folder: Path | str, model: nn.Module, card: Card) -> Card:
    """Write `model` and `card` into `folder`, which is made when missing; returns the card that `load` will give.

    The options are written in full, so that a later change of a default does not change the model. The card
    names the hash of the weights file: a kill between the two files is noticed by `load`.
    Raises: `ModelError` when the model is not the one the card describes; `RunError` when the folder cannot be
    written; `OptionError` when `training` holds what JSON cannot.
    """
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    full = to_plain(architecture(card.architecture, card.options))
    plain = to_plain(replace(card, options=full))
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    shapes = {name: value.to("meta") for name, value in state.items()}
    fit(card.outline(), shapes, f"the model to save as {card.architecture!r}")
    content = to_bytes(state, {"format": "pt"})
    write_atomically(folder / WEIGHTS, content)
    write_atomically(folder / CARD, dump_json(plain | {"weights_file_sha256": sha256(content)}))
    return Card(**plain)


def load(folder: Path | str) -> tuple[nn.Module, Card]:
    """The model and the card that `save` wrote into `folder`; on the CPU, in evaluation mode, in the saved
    dtype.

    Raises: `ModelError` when the folder, a file in it or an entry of the card is missing, damaged or does not
    fit.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "does not exist"
        if folder.is_file():
            what = f"is a file; pass its folder, {str(folder.parent)!r}, or the file as weights beside FILE.py:FACTORY"
        raise ModelError(f"model folder {str(folder)!r} {what}.")
    card, expected = _read_card(folder / CARD)
    state = read_weights(folder / WEIGHTS)
    if sha256_of_file(folder / WEIGHTS) != expected:
        raise ModelError(
            f"model folder {str(folder)!r}: {WEIGHTS} is not the file that {CARD} was written for. "
            "Save or copy the whole folder again."
        )
    model = card.build(seed=0)
    network = model.model if isinstance(model, Recalibrated) else model  # a map keeps float64, whatever the model is in
    inside = "model." if isinstance(model, Recalibrated) else ""
    floats = {name: value.dtype for name, value in state.items() if value.is_floating_point()}
    dtypes = {dtype for name, dtype in floats.items() if name.startswith(inside)}
    if len(dtypes) == 1:
        network.to(dtypes.pop())
    fit(model, state, f"{str(folder / WEIGHTS)!r}")
    return model.eval(), card


def _read_card(path: Path) -> tuple[Card, str]:
    """The card and the hash of the weights file it was written for."""
    inside = path.parent / "classifier"
    if not path.is_file() and (inside / CARD).is_file():
        raise ModelError(
            f"{str(path.parent)!r} is guarded by a detector; allowed here: its classifier, {str(inside)!r}. Name that."
        )
    if not path.is_file():
        raise ModelError(f"{str(path.parent)!r} holds no {CARD}; allowed: a folder that training or `save` wrote.")
    try:
        plain = json.loads(path.read_bytes())
        expected = str(plain.pop("weights_file_sha256"))
        if plain.get("format") != FORMAT:
            raise ModelError(
                f"{str(path)!r} has format {plain.get('format')!r}; allowed: {FORMAT}. "
                "It was written by another version of holdfast: use that one, or train again."
            )
        plain.setdefault("recalibration", None)  # cards of models without one were written without the entry at first
        return Card(**{entry.name: plain[entry.name] for entry in fields(Card)}), expected
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OptionError) as error:
        why = str(error) if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{str(path)!r} is not a whole model card ({why}). Save or copy the whole folder again."
        ) from error
