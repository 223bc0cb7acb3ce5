"""What attacks that look for the smallest change share."""

import math

import torch
from torch import Tensor

from holdfast.attacks.case import Case
from holdfast.lanes import column
from holdfast.threats import Threat, whole_box


def falling(case: Case, steps: int, first: float, last: float) -> Tensor:
    """(L,): `first` at a lane's first step, falling along half a cosine towards `last`, in the pictures' dtype."""
    done = (case.round - 1).to(case.x.dtype) / steps
    return last + (first - last) / 2 * (1 + torch.cos(math.pi * done))


def furthest(case: Case) -> Tensor:
    """(L,): the size of the largest move within the box."""
    x, threat = case.x, case.threat
    return threat.size(torch.maximum(x - threat.low, threat.high - x))


def longest(case: Case) -> float:
    """The Euclidean length of the longest move of size 1: of one value alone or of all values alike."""
    shape = tuple(case.x.shape[1:])
    width = case.threat.high - case.threat.low
    return max(1.0, math.sqrt(math.prod(shape)) * width / whole_box(case.threat, shape))


def usable(values: Tensor) -> Tensor:
    """What is not finite as 0: it tells nothing of where to go."""
    return values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def slope_of_size(threat: Threat, delta: Tensor) -> Tensor:
    """The gradient of the threat's size at `delta`, by autograd, whatever the norm; 0 where it has none, as at 0."""
    with torch.enable_grad():
        delta = delta.detach().requires_grad_()
        (slope,) = torch.autograd.grad(threat.size(delta).sum(), delta)
    return usable(slope)


def open_ways(case: Case, points: Tensor, slope: Tensor) -> Tensor:
    """`slope` with 0 for values that are at the side of the box they would move to; what is not finite counts as 0."""
    low, high = case.threat.low, case.threat.high
    slope = usable(slope)
    # By arithmetic, since masks are several times slower on a CPU: 1 where there is room, else 0.
    room = slope.sign().mul_(2 * (high - low)).add_(points).clamp_(low, high).sub_(points).abs_().sign_()
    return room.mul_(slope)


def unit(case: Case, slope: Tensor) -> Tensor:
    """`slope` brought to Euclidean length 1; a random direction for lanes where it is zero."""
    flat = slope.flatten(1)
    # Largest value first: squares of a vanishing gradient underflow, and those of a huge one overflow.
    largest = flat.abs().amax(1, keepdim=True)
    flat = flat / largest.clamp_min(torch.finfo(flat.dtype).tiny)
    none = largest[:, 0] == 0
    if none.device.type != "cpu" or bool(none.any()):  # another device would have to be waited for
        flat = torch.where(none[:, None], case.draws.normal(slope).flatten(1), flat)
    return (flat / flat.square().sum(1, keepdim=True).sqrt()).view_as(slope)


def towards(case: Case, move: Tensor) -> Tensor:
    """The pictures moved by `move`, which is overwritten, and cut to the box."""
    return move.add_(case.x).clamp_(case.threat.low, case.threat.high)


def stepped(case: Case, points: Tensor, direction: Tensor, length: Tensor) -> Tensor:
    """The change of `points` after a step of `length` (L,) along `direction`, cut to the box."""
    moved = torch.addcmul(points, direction, column(length, points))
    return moved.clamp_(case.threat.low, case.threat.high).sub_(case.x)
