"""Trees of tensors with the lane axis first: take some lanes, join two sets of lanes, choose lane by lane.

A tree is a tensor, a number, a string, None, or a tuple, list, dict or dataclass of trees. Tensors with at
least one axis have one row a lane; everything else belongs to all lanes alike and is left alone.
Indexing a tree is what drops, refills and merges pictures, so no attack writes that itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

Tree = TypeVar("Tree")


def map_lanes(function: Callable[..., Tensor], *trees: Tree) -> Tree:
    """Apply `function` to the matching lane tensors of equally built trees and rebuild the tree."""
    first: Any = trees[0]
    if isinstance(first, Tensor):
        return function(*trees) if first.ndim else first  # type: ignore[return-value]
    if isinstance(first, tuple | list):
        parts = [map_lanes(function, *group) for group in zip(*trees, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)  # type: ignore[return-value]
    if isinstance(first, dict):
        return {key: map_lanes(function, *(tree[key] for tree in trees)) for key in first}  # type: ignore
    if is_dataclass(first) and not isinstance(first, type):
        # Set field by field, not made anew: the options were checked when the first one was made.
        made = object.__new__(type(first))
        for name in _names(type(first)):
            values = [getattr(tree, name) for tree in trees]
            object.__setattr__(made, name, map_lanes(function, *values))
        return made  # type: ignore[return-value]
    return first  # type: ignore[no-any-return]


@cache
def _names(record: type[Any]) -> tuple[str, ...]:
    """The fields of a dataclass; looked up once, as every step of an attack goes through here many times."""
    return tuple(field.name for field in fields(record))


def take(tree: Tree, lanes: Tensor) -> Tree:
    """The lanes that an index (L,) int64 or a mask (N,) bool selects."""
    rows = lanes.nonzero().squeeze(1) if lanes.dtype == torch.bool else lanes
    return map_lanes(lambda tensor: tensor.index_select(0, rows), tree)


def join(trees: Sequence[Tree]) -> Tree:
    """The lanes of several equally built trees, one after the other."""
    if len(trees) == 1:
        return trees[0]
    return map_lanes(lambda *tensors: torch.cat(tensors), *trees)


def column(values: Tensor, like: Tensor) -> Tensor:
    """Values (L,) in a shape that broadcasts against `like` (L, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def choose(condition: Tensor, yes: Tree, no: Tree) -> Tree:
    """Lane by lane `yes` where `condition` (N,) bool holds, else `no`. Never waits for the device."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(column(condition, a), a, b)

    return map_lanes(pick, yes, no)
