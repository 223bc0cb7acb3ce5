"""Does the same picture always get the same answer?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access.borrow import float_type
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.precision import alike
from holdfast.evaluate.sample import Sample

EOT = "Average the gradient over many passes (expectation over transformations) before believing a robust figure."


@dataclass(frozen=True)
class Randomness:
    """Two passes agree, a picture alone and in its batch agree, and the model was not given in training mode.

    Differences are measured as a share of the picture's largest logit. A repeated pass may differ by `roundings` steps
    of the float type (2.4e-5 in float32; ours differ by 0, atomic sums on a GPU by a few steps). Alone and in a batch
    other kernels run, which is granted `precision.alike`: 0.1 % in float32, 5 % where products have 10 bits.
    Either kind beyond that fails: one gradient of a random model, or of one that looks at its neighbours, misleads.
    Given in training mode warns: it was evaluated in evaluation mode, which may not be what its owner meant.
    Cost: 1 forward pass a picture of the sample, and `alone` single pictures.
    """

    roundings: int = 200
    alone: int = 8
    name: ClassVar[str] = "randomness"
    title: ClassVar[str] = "The same picture always gets the same answer"

    def look(self, sample: Sample) -> Finding:
        """From a second pass, and from pictures shown singly."""
        first = sample.logits
        granted = alike(float_type(sample.model), first.device)
        rounding = min(self.roundings * torch.finfo(first.dtype).eps, granted)
        again = differ(first, sample.ask(sample.x))
        if (again > rounding).any():
            told = (
                f"{int((again > rounding).sum())} of {len(sample)} pictures are answered differently in a second pass"
            )
            return found(self, "fail", f"{told}, by up to {float(again.max()):.2g} of the largest logit", EOT)
        single = torch.cat([sample.ask(x[None]) for x in sample.x[: self.alone]])
        lonely = differ(first[: self.alone], single)
        if (lonely > granted).any():
            told = f"{int((lonely > granted).sum())} of {len(single)} pictures are answered differently alone"
            advice = "Let batch norm use its running statistics; a picture's answer must not depend on its neighbours."
            return found(self, "fail", f"{told}, by up to {float(lonely.max()):.2g} of the largest logit", advice)
        evidence = f"two passes over {len(sample)} pictures, and {len(single)} of them alone, agree"
        if sample.training:
            told = (
                f"{evidence}; but it was given in training mode ({sample.training[0]}) and evaluated in evaluation mode"
            )
            return found(self, "warn", told, "If that is what you meant, call model.eval() first to say so.")
        return found(self, "pass", evidence)


def differ(a: Tensor, b: Tensor) -> Tensor:
    """(n,) largest difference of two answers as a share of the larger one's largest logit; NaN counts as 1."""
    scale = torch.maximum(a.abs().amax(1), b.abs().amax(1)).clamp_min(torch.finfo(a.dtype).tiny)
    return ((a - b).abs().amax(1) / scale).nan_to_num(nan=1.0)
