"""Deep Defense: the size of DeepFool's change, as a function of the weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd import grad

from holdfast.access.borrow import resting
from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.train.step import Step

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class DeepDefense:
    """Add weight * exp(-c rho) for a picture that is classified right, and weight * exp(d rho) for a wrong one.

    rho = ||delta||_2 / ||x||_2, with delta DeepFool's change of the picture. It is a recursive network: each step's
    boundary is a function of the weights, also by the point that earlier steps led to, and the weights' gradient goes
    through all of them; which class is nearest, and how many steps are taken, count as given. Right pictures are
    thereby moved away from the boundary, wrong ones towards it.
    The pictures are those at `step.seen`: the published reading takes the clean ones, as here without an adversary;
    with the adversary `deepfool` they are DeepFool's pictures, as a report on Fashion-MNIST words it. The model answers
    in evaluation mode, as it will when it is attacked, and in its own precision. It leaves the figure `rho`.
    Cost, for K classes: a look at the classes, then for each step, of the pictures that still hold, a forward pass,
    K + 1 backward passes to the pixels and a look at where it led; and the weights' backward pass through every step,
    its forward pass and the last of its backward ones.
    Raises: `OptionError` for an option that is not allowed.
    Source: Yan, Guo & Zhang 2018, arXiv:1803.00404; the overshoot within each step from a report on it, whose
    loop also begins each picture at the class that the model gives it, as DeepFool does.
    """

    c: float = option(25.0, "how fast the term falls with rho, for pictures classified right")
    d: float = option(5.0, "how fast the term grows with rho, for pictures classified wrong")
    weight: float = option(15.0, "factor of both terms, beside the loss of the picture")
    steps: int = option(5, "the most steps to the boundary a picture")
    overshoot: float = option(1.02, "factor on the length of each step, so that it ends past the boundary")
    name: ClassVar[str] = "deep-defense"
    wants_slope: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what is no penalty."""
        for name, fits, allowed in (
            ("c", self.c > 0, "finite numbers > 0"),
            ("d", self.d > 0, "finite numbers > 0"),
            ("weight", self.weight >= 0, "finite numbers >= 0"),
            ("overshoot", self.overshoot >= 1, "finite numbers >= 1; 1.02 goes a fiftieth past the boundary"),
        ):
            if not (fits and math.isfinite(getattr(self, name))):
                raise OptionError(f"DeepDefense: {name}={getattr(self, name)!r}; allowed: {allowed}.")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise OptionError(f"DeepDefense: steps={self.steps!r}; allowed: whole numbers >= 1.")

    def __call__(self, step: Step) -> Tensor:
        """(N,), the weighted terms; 0 for a black picture, of which no change is a share."""
        x = step.seen.detach()
        with resting(step.model), torch.autocast(x.device.type, enabled=False):
            delta, own = deepfool(step.model, x, self.steps, self.overshoot)
        rho = relative(delta, x)
        step.note("rho", rho)
        # One exponential for both: of two, the one that is not chosen might overflow and spoil the gradient.
        rate = torch.where(own == step.labels.y, -self.c, self.d).to(rho.dtype)
        return self.weight * (rate * rho).exp() * x.flatten(1).any(1)


def relative(delta: Tensor, x: Tensor) -> Tensor:
    """The Euclidean length of each change over that of its picture, (N,); 0 for a black picture."""
    whole = torch.linalg.vector_norm(x.flatten(1), dim=1)
    change = torch.linalg.vector_norm(delta.flatten(1), dim=1)  # its derivative at 0 is 0, not NaN
    return torch.where(whole > 0, change / torch.where(whole > 0, whole, 1), 0)


def deepfool(model: Model, x: Tensor, steps: int, overshoot: float) -> tuple[Tensor, Tensor]:
    """DeepFool's change of each picture (N, C, H, W), differentiable in the weights, and the classes (N,) given to `x`.

    Each picture is moved onto the nearest linearised boundary, `overshoot` times as far, until its class has changed or
    `steps` are taken. Nothing is cut to the box. The model must answer each picture for itself.
    """
    with torch.no_grad():
        own = model(x).argmax(1)
    delta, held = torch.zeros_like(x), torch.arange(len(x), device=x.device)
    for number in range(steps):
        points = x[held] + delta[held]
        if number:
            with torch.no_grad():
                still = model(points).argmax(1) == own[held]
            held, points = held[still], points[still]
        if not len(held):
            break
        delta = delta.index_add(0, held, overshoot * onto_boundary(model, points, own[held]))
    return delta, own


def onto_boundary(model: Model, points: Tensor, own: Tensor) -> Tensor:
    """The shortest move of each point onto a linearised boundary of its class, differentiable in points and weights."""
    points = points if points.requires_grad else points.requires_grad_()
    logits = model(points)
    rival = nearest(logits, points, own)[:, None]
    gap = (logits.gather(1, own[:, None]) - logits.gather(1, rival)).squeeze(1)
    (normal,) = grad(-gap.sum(), points, create_graph=True)
    square = normal.flatten(1).square().sum(1)
    some = square > 0  # a model that heeds no pixel has no boundary to go to
    share = torch.where(some, gap / torch.where(some, square, 1), 0)
    return share.view(-1, *[1] * (points.ndim - 1)) * normal


def nearest(logits: Tensor, points: Tensor, own: Tensor) -> Tensor:
    """(N,): the class whose linearised boundary is nearest: by the gap of the logits over the length of its slope."""
    rows = torch.stack([grad(logit.sum(), points, retain_graph=True)[0].flatten(1) for logit in logits.unbind(1)], 1)
    mine = own[:, None]
    normals = rows - rows.gather(1, mine[:, :, None].expand(-1, 1, rows.shape[2]))
    gaps = (logits - logits.gather(1, mine)).detach().abs()
    far: Tensor = gaps / torch.linalg.vector_norm(normals, dim=2)
    # 0 / 0 is a class whose logit is the own one's everywhere: there is no boundary between the two.
    return far.nan_to_num(nan=torch.inf).scatter(1, mine, torch.inf).argmin(1)
