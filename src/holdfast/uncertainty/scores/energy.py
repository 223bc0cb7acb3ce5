"""The free energy of the logits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.errors import ModelError
from holdfast.options import option
from holdfast.uncertainty.scores.checks import positive
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class Energy:
    """The free energy -T log sum exp(logit / T).

    It says nothing about a model whose logits are log-probabilities, such as an ensemble: at T = 1 it is 0 for every
    picture.
    Source: Liu et al. 2020, arXiv:2010.03759.
    """

    temperature: float = option(1.0, "T: what logits are divided by")
    name: ClassVar[str] = "energy"
    needs: ClassVar[str] = "logits"

    def __post_init__(self) -> None:
        """Refuse what is no temperature."""
        positive(self, "temperature")

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt. Raises: `ModelError` for logits that are log-probabilities."""
        first = next(iter(batches), None)
        if first is not None and len(first) and float(free_energy(first.logits.double()).abs().max()) < 1e-5:
            raise ModelError(
                "energy: the model's logits are log-probabilities, as those of an ensemble are, and their energy is 0 "
                "for every picture; allowed: logits that are not normalised. Take entropy or max-probability."
            )
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        return free_energy(batch.logits.double(), self.temperature)


def free_energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """-T log sum exp(logit / T) of each row of (n, K)."""
    return -temperature * (logits / temperature).logsumexp(1)
