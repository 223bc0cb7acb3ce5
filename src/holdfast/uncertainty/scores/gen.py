"""A generalised entropy of the largest probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.options import option, refused
from holdfast.uncertainty.scores.checks import whole
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class GEN:
    """The sum of p^g (1 - p)^g over the `top` largest probabilities.

    A small exponent heeds probabilities near 0 and 1, which the usual entropy hardly sees.
    Source: Liu, Lochman & Zach 2023, CVPR, pp. 23946-23955; there with the other sign.
    """

    exponent: float = option(0.1, "g: between 0 and 1")
    top: int = option(100, "how many of the largest probabilities count; all where there are fewer classes")
    name: ClassVar[str] = "gen"
    needs: ClassVar[str] = "logits"

    def __post_init__(self) -> None:
        """Refuse what is no generalised entropy."""
        if not 0 < self.exponent < 1:
            raise refused(self, "exponent", "0 < exponent < 1", "The source takes exponent=0.1.")
        whole(self, "top", least=1)

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt."""
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        logs = batch.logits.double().log_softmax(1)
        p = logs.exp()
        sure = p.argmax(1, keepdim=True)
        # 1 - p rounds to 0 where p is almost 1, and a small power of 0 is far from that of what was lost. All is in
        # logarithms, since a power of what underflows has no slope.
        lost = logs.scatter(1, sure, -torch.inf).logsumexp(1, keepdim=True)
        rest = (1 - p).scatter(1, sure, 1.0).log().scatter(1, sure, lost)
        kept = min(self.top, p.shape[1])
        order = p.topk(kept, dim=1).indices
        terms = (self.exponent * (logs + rest)).exp()
        return terms.gather(1, order).sum(1)
