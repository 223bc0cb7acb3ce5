"""Step functions of probabilities, and how they become one map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.models.maps import Stairs

Steps = tuple[Tensor, Tensor]  # edges (P,) ascending, values (P + 1,), float64


def cuts(ordered: Tensor, bins: int) -> Tensor:
    """The edges (B' - 1,) between `bins` groups of as many values each, to within one; half way between neighbours.

    Equal values stay together, so there may be fewer. `ordered` (N,) ascending.
    """
    n = len(ordered)
    places = torch.tensor([-(-n * b // bins) for b in range(1, bins)], dtype=torch.int64)
    places = places[places < n]
    below, above = ordered[places - 1], ordered[places]
    middles: Tensor = (below + above) / 2
    return middles[above > below]


def stairs(functions: Sequence[Steps]) -> Stairs:
    """One map of a step function a class."""
    pieces = max(len(values) for _, values in functions)
    made = Stairs(len(functions), pieces)
    for k, (edges, values) in enumerate(functions):
        made.edges[k, : len(edges)] = edges
        made.values[k, : len(values)] = values
        made.values[k, len(values) :] = values[-1]
    return made
