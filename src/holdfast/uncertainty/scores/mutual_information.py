"""How far the members of an ensemble contradict each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.models.ensemble import log_of_mean
from holdfast.uncertainty.disagreement import divergence
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class MutualInformation:
    """The entropy of the members' mean less the mean of their entropies, in nats: in [0, log M].

    For ensembles and Monte Carlo dropout; 0 where all members say the same, however unsure they are.
    Source: Houlsby et al. 2011, arXiv:1112.5745; as a score of unfamiliar pictures Smith & Gal 2018, arXiv:1803.08533.
    """

    name: ClassVar[str] = "mutual-information"
    needs: ClassVar[str] = "members"

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt."""
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        logs = batch.members.double().log_softmax(-1)
        return divergence(logs, log_of_mean(logs))
