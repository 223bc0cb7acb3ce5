"""Does the same picture always get the same answer?"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access.borrow import float_type
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.precision import alike
from holdfast.evaluate.sample import Sample
from holdfast.models import random_steps

USUAL = 20  # answers to average over, as AutoAttack does
LOOKS = 10
SPREAD = "A difference within that spread is no difference."
EOT = (
    "Average over many answers (expectation over transformations): --suite random, or --eot {samples} with any attack."
)


@dataclass(frozen=True)
class Randomness:
    """Two passes agree, a picture alone and in its batch agree, and the model was not given in training mode.

    Differences are measured as a share of the picture's largest logit. A repeated pass may differ by `roundings` steps
    of the float type (2.4e-5 in float32; ours differ by 0, atomic sums on a GPU by a few steps). Alone and in a batch
    other kernels run, which is granted `precision.alike`: 0.1 % in float32, 5 % where products have 10 bits.
    Either kind beyond that fails: one gradient of a random model, or of one that looks at its neighbours, misleads.
    Repeated passes that differ only warn where the attack averages over several answers. Told then is how far the
    number of right pictures swings from one look at the attacked sample to the next, and how well two averages of the
    gradient agree (median cosine); the advice names a number of answers from which half of an average is signal.
    Given in training mode warns: it was evaluated in evaluation mode, which may not be what its owner meant. So does a
    step declared random in a model that answers alike.
    Cost: 1 forward pass a picture of the sample, and `alone` single pictures. For a random model two gradients as the
    attack takes them, and where that averages the attack itself and ten forward passes more.
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
            return self._random(sample, f"{told}, by up to {float(again.max()):.2g} of the largest logit")
        single = torch.cat([sample.ask(x[None]) for x in sample.x[: self.alone]])
        lonely = differ(first[: self.alone], single)
        if (lonely > granted).any():
            told = f"{int((lonely > granted).sum())} of {len(single)} pictures are answered differently alone"
            advice = "Let batch norm use its running statistics; a picture's answer must not depend on its neighbours."
            return found(self, "fail", f"{told}, by up to {float(lonely.max()):.2g} of the largest logit", advice)
        evidence = f"two passes over {len(sample)} pictures, and {len(single)} of them alone, agree"
        if steps := random_steps(sample.model):
            told = f"{evidence}; but its step {steps[0]} is declared random"
            return found(
                self, "warn", told, "If it draws in training mode only, write it as a function that always draws."
            )
        if sample.training:
            told = (
                f"{evidence}; but it was given in training mode ({sample.training[0]}) and evaluated in evaluation mode"
            )
            return found(self, "warn", told, "If that is what you meant, call model.eval() first to say so.")
        return found(self, "pass", evidence)

    def _random(self, sample: Sample, told: str) -> Finding:
        """Of a model that answers at random: whether the attack can cope, and how far the figure swings."""
        one, other = (sample.fresh_gradient("margin").flatten(1) for _ in range(2))
        agreement = float(torch.nan_to_num(torch.cosine_similarity(one, other, dim=1)).median())
        samples = sensible(agreement, sample.repeats)
        advice = EOT.format(samples=samples)
        if sample.repeats == 1:
            return found(self, "fail", f"{told}; two gradients agree by a cosine of {agreement:.2f}", advice)
        x_adv = sample.attacked(float(sample.threat.eps)).x_adv
        right = [int((sample.ask(x_adv).argmax(1) == sample.y).sum()) for _ in range(LOOKS)]
        spread = (
            f"in {LOOKS} looks at the attacked sample {min(right)} to {max(right)} of {len(sample)} are right, "
            f"{sum(right) / LOOKS:.1f} on average; two averages of {sample.repeats} gradients agree by a cosine of "
            f"{agreement:.2f}"
        )
        return found(self, "warn", f"{told}; {spread}", f"{SPREAD} {advice}" if samples > sample.repeats else SPREAD)


def sensible(agreement: float, samples: int) -> int:
    """How many answers to average over, where averages over `samples` agree by that cosine: at least the usual 20.

    With signal s and noise n in one gradient, averages over m agree by s / (s + n/m); half is reached at m = n/s.
    """
    if agreement <= 0.01:
        return 50 * USUAL
    return max(USUAL, math.ceil(samples * (1 - agreement) / agreement))


def differ(a: Tensor, b: Tensor) -> Tensor:
    """(n,) largest difference of two answers as a share of the larger one's largest logit; NaN counts as 1."""
    scale = torch.maximum(a.abs().amax(1), b.abs().amax(1)).clamp_min(torch.finfo(a.dtype).tiny)
    return ((a - b).abs().amax(1) / scale).nan_to_num(nan=1.0)
