"""Several models as one, by the mean of their probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.members import check_members
from holdfast.options import option


class Ensemble(nn.Module):
    """The mean of the members' probabilities; its logits are the logarithm of that mean.

    Args: `members` modules, each from pictures (N, C, H, W) to logits (N, K).
    Raises: `OptionError` for fewer than two.
    Cost: M times a member's, forward and backward; a gradient goes through all members.
    Source: Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474, sec. 2.4.

    >>> Ensemble([nn.Flatten(), nn.Flatten()])(torch.zeros(1, 2, 1, 1)).exp()
    tensor([[0.5000, 0.5000]])
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(members) < 2:
            raise OptionError(f"Ensemble: {len(members)} members; allowed: two or more. Add another trained model.")
        self.parts = nn.ModuleList(members)

    @property
    def cost(self) -> int:
        """Forward passes of a member for each picture."""
        return len(self.parts)

    def members(self, x: Tensor) -> Tensor:
        """The logits of each member, (M, N, K)."""
        return torch.stack([part(x) for part in self.parts])

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to log-probabilities (N, K)."""
        return self.joined(self.members(x))

    def joined(self, members: Tensor) -> Tensor:
        """The members' logits (M, N, K) to log-probabilities (N, K)."""
        return log_of_mean(members)


def log_of_mean(logits: Tensor) -> Tensor:
    """The logarithm of the mean of softmax probabilities, (M, N, K) to (N, K), right where all of them underflow.

    Its rows are log-probabilities: their exponentials sum to 1.
    """
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


@dataclass(frozen=True, kw_only=True)
class EnsembleOf:
    """Several trained models as one: the mean of their probabilities."""

    members: tuple[Any, ...] = option((), "what each member is: architecture, options, mean, std")
    made: str = option("joined", "how the members came about")
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what no member can be built from."""
        check_members("ensemble", self.members, least=2)

    def join(self, networks: Sequence[nn.Module], classes: int) -> nn.Module:
        """One model of the members' networks."""
        return Ensemble(networks)
