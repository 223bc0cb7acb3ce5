"""MART: a sharper loss at the adversarial pictures, and a divergence that counts most where pictures are missed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.errors import OptionError
from holdfast.losses import Objective
from holdfast.losses.formulas import kl_divergence
from holdfast.options import option
from holdfast.threats import AnyThreat
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class MART:
    """Boosted cross-entropy at x', plus `weight` times KL(p(x) || p(x')) (1 - p_y(x)).

    The boosted cross-entropy is -log p_y(x') - log(1 - max_{k != y} p_k(x')): it also pushes the likeliest wrong class
    down. The attack climbs its own loss. The gradient also goes through 1 - p_y(x), as in the source's code. It takes
    labels as they are, so the recipe's loss must be the plain cross-entropy.
    Raises: `OptionError` for a weight below 0.
    Cost: the attack's passes, then two forward and two backward passes.
    Source: Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples" (ICLR),
    whose lambda is `weight`. The source's script for ResNet-18 has 5; its loss function, called alone, 6.
    """

    weight: float = option(5.0, "weight of the divergence")
    name: ClassVar[str] = "mart"
    replays: ClassVar[int] = 1
    own_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 <= self.weight < float("inf"):
            raise OptionError(f"MART: weight={self.weight!r}; allowed: finite numbers >= 0. The source has 5.")

    def check(self, attack: Attack, threats: Sequence[AnyThreat]) -> None:
        """Any attack will do."""

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """The attack's own loss."""
        return None

    def __call__(self, step: Step) -> Tensor:
        """(N,), both terms."""
        y, clean = step.labels.y[:, None], step.ask(step.x)
        missed = 1 - clean.softmax(1).gather(1, y).squeeze(1)
        return boosted(step.logits, step.labels.y) + self.weight * missed * kl_divergence(clean, step.logits)


def boosted(logits: Tensor, y: Tensor) -> Tensor:
    """(N,), -log p_y - log(1 - p_k), k the likeliest class other than y; finite where p_k rounds to 1."""
    log_p = logits.log_softmax(1)
    likeliest = log_p.scatter(1, y[:, None], -torch.inf).argmax(1)
    others = log_p.scatter(1, likeliest[:, None], -torch.inf).logsumexp(1)
    return -log_p.gather(1, y[:, None]).squeeze(1) - others
