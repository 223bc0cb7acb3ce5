"""Does the model return logits, or probabilities already?"""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample


@dataclass(frozen=True)
class Probabilities:
    """The outputs are not probabilities: not all of them nonnegative with a sum of 1 (to within `rounding`).

    A softmax inside the model saturates: where it is sure, its outputs are constant in floating point, the gradient
    vanishes and attacks look weaker than they are. Logits that sum to 1 in every row do not happen by accident.
    Cost: none, the answers on the unchanged sample are shared.
    """

    rounding: float = 1e-3
    name: ClassVar[str] = "probabilities"
    title: ClassVar[str] = "The model returns logits, not probabilities"

    def look(self, sample: Sample) -> Finding:
        """From the logits of the unchanged sample."""
        logits = sample.logits.double()
        rows = (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < self.rounding)
        evidence = f"{int(rows.sum())} of {len(sample)} answers are nonnegative and sum to 1"
        if bool(rows.all()):
            return found(self, "fail", evidence, "Leave out the last softmax: return the logits that go into it.")
        return found(self, "pass", evidence)
