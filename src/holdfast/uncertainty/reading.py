"""Asking a model about pictures, and listening to what its last linear layer is given."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.access.borrow import borrow, float_type, home
from holdfast.data import Pictures
from holdfast.errors import ModelError
from holdfast.models import Committee
from holdfast.uncertainty.scores.interface import Batch, Head

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads `Batch`es off a model, which is lent in evaluation mode and given back as found.

    `layer`: the linear layer whose input the features are, or None where no features are wanted. `members`: whether
    those of an ensemble are told apart; where features are wanted too, it is asked once more for them.
    """

    model: nn.Module
    layer: str | None = None
    members: bool = False
    batch: int = 256  # pictures a call

    def read(self, x: Tensor, labels: Tensor | None = None) -> Batch:
        """One call. Raises: `ModelError` where logits or features are not finite, or the layer was not asked once."""
        given: list[Tensor] = []
        x = x.to(home(self.model, x), float_type(self.model))
        with torch.no_grad(), borrow(self.model), self._listening(given):
            logits, members = self._asked(x)
        features = self._features(given, logits)
        for name, values in (("logits", logits), ("features", features)):
            if not bool(values.isfinite().all()):
                raise ModelError(
                    f"the model's {name} are NaN or infinite for {int((~values.isfinite()).any(1).sum())} of {len(x)} "
                    "pictures; allowed: finite numbers. See whether its weights or the pictures are broken."
                )
        known = torch.full((len(x),), -1) if labels is None else labels
        return Batch(logits.cpu(), features.cpu(), known.cpu(), members.cpu())

    def bank(self, pictures: Pictures, progress: Progress | None = None) -> "Bank":
        """What it says of all pictures, kept. Memory: 4 bytes a logit and a feature."""
        parts = []
        for start in range(0, len(pictures), self.batch):
            some = pictures.take(slice(start, start + self.batch))
            parts.append(self.read(some.x(), some.labels))
            if progress is not None:
                progress(min(start + self.batch, len(pictures)), len(pictures))
        return Bank(tuple(parts))

    def head(self) -> Head | None:
        """The layer's weights, as scores use them."""
        if self.layer is None:
            return None
        linear = linears(self.model)[self.layer]
        weight = linear.weight.detach().double().cpu()
        bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach().double().cpu()
        return Head(self.layer, weight, bias)

    @contextmanager
    def _listening(self, given: list[Tensor]) -> Iterator[None]:
        with ExitStack() as hooks:
            if self.layer is not None:
                hook = linears(self.model)[self.layer].register_forward_pre_hook(lambda _, args: given.append(args[0]))
                hooks.callback(hook.remove)
            yield

    def _features(self, given: list[Tensor], logits: Tensor) -> Tensor:
        if self.layer is None:
            return logits.new_empty(len(logits), 0)
        if len(given) != 1 or given[0].ndim != 2:
            shapes = ", ".join(str(tuple(one.shape)) for one in given) or "nothing"
            raise ModelError(
                f"layer {self.layer!r} was given {shapes} in one call; allowed: one tensor (N, D). Name another layer."
            )
        return given[0].detach()

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K), and those of the members (M, N, K), of none where they are not told apart."""
        if not self.members:
            logits = self.model(x)
            return logits, logits.new_empty(0, *logits.shape)
        if not isinstance(self.model, Committee):
            raise ModelError(
                f"{type(self.model).__name__} has no members; allowed: an ensemble, or Monte Carlo "
                "dropout. Join models by `holdfast ensemble`."
            )
        members = self.model.members(x)
        return (self.model.joined(members) if self.layer is None else self.model(x)), members


@dataclass(frozen=True, eq=False)
class Bank:
    """What a model said of some pictures, to be gone through several times."""

    parts: tuple[Batch, ...]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}


def last_layer(model: nn.Module, x: Tensor, named: str | None = None) -> str:
    """The name of the linear layer that makes the logits of `x` (N, C, H, W), or of the one the user names.

    Raises: `ModelError` for a name that no linear layer has, and without a name where no linear layer's output is the
    model's answer, as with ensembles. Cost: one forward pass.
    """
    known = linears(model)
    if named is not None:
        if named not in known:
            raise ModelError(
                f"layer {named!r} is no linear layer of the model; it has: {_listed(known)}. Name one of those."
            )
        return named
    said: dict[str, Tensor] = {}
    with torch.no_grad(), borrow(model), ExitStack() as hooks:
        for name, part in known.items():

            def keep(module: nn.Module, given: object, answer: Tensor, name: str = name) -> None:
                said[name] = answer

            hooks.callback(part.register_forward_hook(keep).remove)
        logits = model(x.to(home(model, x), float_type(model)))
    for name, answer in reversed(said.items()):
        if answer.shape == logits.shape and torch.equal(answer, logits):
            return name
    raise ModelError(
        f"no linear layer gives the answer of {type(model).__name__}; its linear layers: {_listed(known)}. Scores of "
        "features need the one before the logits: name it by its place in the model (--layer), or take scores of the "
        "logits."
    )


def _listed(known: Mapping[str, nn.Linear], most: int = 8) -> str:
    """The last few names."""
    names = [repr(name) for name in known][-most:]
    return ", ".join(["..."] * (len(known) > most) + names) or "none"
