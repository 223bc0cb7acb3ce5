"""What layers of a classifier are given in its own pass, for detectors that compare that with training pictures."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access.borrow import borrow, float_type, home
from holdfast.data import Pictures
from holdfast.detect.interface import Progress
from holdfast.draws import Draws
from holdfast.errors import ModelError
from holdfast.models.guarded import Suspicion


class Remembering(Suspicion):
    """Suspicion with values of its own, which it takes over from another's state whatever their shapes."""

    values: tuple[str, ...] = ()  # the names of those that there always are

    def keep(self, state: Mapping[str, Tensor]) -> None:
        """Hold these values."""
        for name, value in state.items():
            self.register_buffer(name, value)

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Hold those of another. Raises: `RuntimeError` for other names."""
        if set(values) != set(self.expected()):
            raise RuntimeError(f"{type(self).__name__}: values {sorted(values)}; allowed: {sorted(self.expected())}.")
        self.keep(values)

    def expected(self) -> tuple[str, ...]:
        """The names of all values."""
        return self.values


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The linear and the convolutional layers by name."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {name: part for name, part in model.named_modules() if isinstance(part, kinds)}


def layers_after_first(model: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """The layers that are asked once a pass, in the order of asking, but the first, which is given the picture.

    Cost: one forward pass. Raises: `ModelError` where there are none.
    """
    x = torch.full((2, *shape), 0.5).to(home(model, torch.empty(0)), float_type(model))
    order: list[str] = []
    with torch.no_grad(), borrow(model), ExitStack() as hooks:
        for name, part in layers_of(model).items():
            hooks.callback(part.register_forward_pre_hook(lambda _, args, name=name: order.append(name)).remove)
        model(x)
    found = [name for name in order[1:] if order.count(name) == 1]
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no layer after its first that is asked once a pass; allowed: a network with "
            "linear or convolutional layers. Take a detector that looks at the logits."
        )
    return found


def check_layers(model: nn.Module, names: Sequence[str]) -> None:
    """Raises: `ModelError` for a name that no linear or convolutional layer has."""
    known = layers_of(model)
    for name in names:
        if name not in known:
            raise ModelError(
                f"layer {name!r} is no linear or convolutional layer of the model; it has: "
                f"{', '.join(map(repr, known)) or 'none'}. Name one of those."
            )


def check_classes(model: nn.Module, pictures: Pictures) -> None:
    """Raises: `ModelError` for a model with other classes than the pictures have. Cost: a pass for one of them."""
    with torch.no_grad(), borrow(model):
        given = model(pictures.x(slice(0, 1)).to(home(model, pictures.images), float_type(model))).shape[1]
    if given != len(pictures.classes):
        raise ModelError(
            f"the model knows {given} classes, {pictures.name} has {len(pictures.classes)}; allowed: the same. Fit on "
            "the data that the model was trained on."
        )


@contextmanager
def _listening(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    given: dict[str, list[Any]] = {name: [] for name in names}
    parts = layers_of(model)
    with ExitStack() as hooks:
        for name in names:
            heard = given[name].append
            hooks.callback(parts[name].register_forward_pre_hook(lambda _, args, heard=heard: heard(args[0])).remove)
        yield given


def features(model: nn.Module, x: Tensor, names: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    """Logits (N, K) and what each of the layers was given, (N, D) flattened, by one pass that can be differentiated.

    Raises: `ModelError` for a layer that was not asked once, with a row a picture.
    """
    with _listening(model, names) as given:
        logits = model(x)
    for name, heard in given.items():
        if len(heard) != 1 or heard[0].shape[0] != x.shape[0]:
            shapes = ", ".join(str(tuple(one.shape)) for one in heard) or "nothing"
            raise ModelError(
                f"layer {name!r} was given {shapes} in one pass of {len(x)} pictures; allowed: one tensor with a row a "
                "picture. Name another layer."
            )
    return logits, [given[name][0].flatten(1) for name in names]


def known_features(
    model: nn.Module,
    pictures: Pictures | Tensor,
    names: Sequence[str],
    *,
    batch: int = 256,
    progress: Progress | None = None,
) -> list[Tensor]:
    """What the layers are given for all pictures, (N, D) for each. Raises: `ModelError` where that is not finite."""
    parts: list[list[Tensor]] = []
    device, dtype = home(model, torch.empty(0)), float_type(model)
    with torch.no_grad(), borrow(model):
        for rows in torch.arange(len(pictures)).split(batch):
            x = pictures[rows] if isinstance(pictures, Tensor) else pictures.x(rows, dtype)
            parts.append(features(model, x.to(device, dtype), names)[1])
            if progress is not None:
                progress(int(rows[-1]) + 1, len(pictures))
    found = [torch.cat(column) for column in zip(*parts, strict=True)]
    for name, rows in zip(names, found, strict=True):
        if not bool(rows.isfinite().all()):
            raise ModelError(
                f"layer {name!r} is given NaN or infinity for {int((~rows.isfinite()).any(1).sum())} of {len(rows)} "
                "pictures; allowed: finite numbers. See whether the model's weights or the pictures are broken."
            )
    return found


def squares(rows: Tensor, others: Tensor) -> Tensor:
    """Squared distances (N, M) of rows (N, D) and (M, D), in float64, with a gradient that is finite at 0.

    Differences first: the expanded square would lose the digits of rows that are near each other.
    """
    apart = torch.cdist(rows.double(), others.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return apart.square()


def shuffled(pictures: Pictures, seed: int) -> Tensor:
    """All rows in an order that is the seed's: a picture's place in its split counts, not the row it is in."""
    drawn = Draws(seed, pictures.place.cpu()).uniform(torch.empty(len(pictures), 1, dtype=torch.float64), stream=1)
    return drawn.flatten().argsort(stable=True)
