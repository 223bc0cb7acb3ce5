"""Several models as one, by a linear map of their log-probabilities that was fitted on held-out pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.ensemble import Ensemble
from holdfast.models.members import check_members
from holdfast.options import option


class Stacked(Ensemble):
    """A linear combiner of the members' log-probabilities, class by class from all of them; see `fit_combiner`.

    Before it is fitted it takes the mean of the log-probabilities.
    Args: `members` modules from pictures (N, C, H, W) to logits (N, K); `classes` K.
    Raises: `OptionError` for fewer than two members. Cost: as `Ensemble`.
    Source: Wolpert 1992, Neural Networks 5(2), on stacked generalization.
    """

    def __init__(self, members: Sequence[nn.Module], classes: int) -> None:
        super().__init__(members)
        self.combiner = nn.Linear(len(members) * classes, classes)
        with torch.no_grad():
            weight, bias = mean_of(len(members), classes)
            self.combiner.weight.copy_(weight)
            self.combiner.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to logits (N, K)."""
        return self.joined(self.members(x))

    def joined(self, members: Tensor) -> Tensor:
        """The members' logits (M, N, K) to logits (N, K)."""
        logits: Tensor = self.combiner(side_by_side(members))
        return logits


def side_by_side(logits: Tensor) -> Tensor:
    """Logits of the members (M, N, K) as rows of log-probabilities (N, M K)."""
    return logits.log_softmax(-1).transpose(0, 1).flatten(1)


def mean_of(members: int, classes: int) -> tuple[Tensor, Tensor]:
    """Weight (K, M K) and bias (K,) of the combiner that takes the mean of the log-probabilities."""
    return torch.eye(classes).repeat(1, members) / members, torch.zeros(classes)


def fit_combiner(logits: Tensor, y: Tensor, *, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight (K, M K) and bias (K,) of the combiner with the least cross-entropy on held-out pictures.

    What is minimised is the sum of the pictures' cross-entropies and `penalty` / 2 times the squared distance of the
    weights from those of the mean, so that few pictures move it little. It is convex, and found in float64.
    Args: `logits` (M, N, K) of the members on pictures that none of them was trained on; `y` (N,) int64 in [0, K).
    Raises: `OptionError` for shapes that do not agree, a penalty that is not positive, or logits that are not finite.
    Cost: no model call; some hundred products of (N, M K) and (M K, K).
    """
    if logits.ndim != 3 or logits.shape[1:2] != y.shape or not len(y):
        raise OptionError(
            f"stacking: logits of shape {tuple(logits.shape)} beside labels of shape {tuple(y.shape)}; allowed: "
            "(M, N, K) of M members beside (N,)."
        )
    if not penalty > 0 or not bool(logits.isfinite().all()):
        raise OptionError(
            f"stacking: penalty={penalty!r} on {'finite' if bool(logits.isfinite().all()) else 'NaN or infinite'} "
            "logits; allowed: a penalty > 0 on finite logits."
        )
    inputs = side_by_side(logits.detach().double().cpu())
    start, bias = (part.double() for part in mean_of(len(logits), logits.shape[2]))
    move, bias = torch.zeros_like(start).requires_grad_(), bias.requires_grad_()
    descent = torch.optim.LBFGS(
        [move, bias], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        descent.zero_grad()
        fit = nn.functional.cross_entropy(inputs @ (start + move).T + bias, y.cpu(), reduction="sum")
        loss = (fit + penalty / 2 * move.square().sum()) / len(y)
        loss.backward()
        return loss

    with torch.enable_grad():
        descent.step(closure)
    return (start + move).detach(), bias.detach()


@dataclass(frozen=True, kw_only=True)
class StackedOf:
    """Several trained models as one: a linear map of their log-probabilities, fitted on held-out pictures."""

    members: tuple[Any, ...] = option((), "what each member is: architecture, options, mean, std")
    made: str = option("joined", "how the members came about")
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what no member can be built from."""
        check_members("stacked", self.members, least=2)

    def join(self, networks: Sequence[nn.Module], classes: int) -> nn.Module:
        """One model of the members' networks."""
        return Stacked(networks, classes)
