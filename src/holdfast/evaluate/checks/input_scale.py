"""Are the pictures on the scale that threat and model expect?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.statistics import excess


@dataclass(frozen=True)
class InputScale:
    """Values lie in the threat's box, fill a good part of it, and the model is at its best on them as they are.

    - Outside the box: fails. More than `far` times its top, and the advice names the 0 to 255 scale.
    - All values within `narrow` of the box's width: fails. Pictures on [0, 1] fill 0.4 % of a box of 0 to 255, while
      a set of photographs fills nearly all of its own; eps would be 255 times smaller than meant.
    - On a [0, 1] box, the model is asked about 255 x as well, and about x with the mean and deviation of each channel
      of the sample taken out. Right on `better` more of the pictures, and more than chance explains (sign test,
      p < 0.01): it was trained on those, so that eps is not what it seems and the model is not at its best. An honest
      model gets worse or, without biases, stays the same.
    Cost: 3 forward passes a picture of the sample.
    """

    far: float = 1.5
    narrow: float = 0.02
    better: float = 0.2
    name: ClassVar[str] = "input-scale"
    title: ClassVar[str] = "Pictures are on the scale that threat and model expect"

    def look(self, sample: Sample) -> Finding:
        """From the range of all pictures and the model's answers on the sample."""
        low, high = sample.threat.low, sample.threat.high
        lowest, highest = sample.extent
        evidence = f"values from {lowest:g} to {highest:g} in a box from {low:g} to {high:g}"
        if lowest < low or highest > high:
            scale = "Divide the pictures by 255." if highest > self.far * high > 0 else "State the box in the threat."
            return found(self, "fail", evidence, f"{scale} Normalisation belongs inside the model.")
        if highest - lowest < self.narrow * (high - low):
            advice = (
                "State the box that the pictures fill: low=0, high=1 for pictures in [0, 1], and eps on that scale."
            )
            return found(self, "fail", f"{evidence}, less than {self.narrow:.0%} of it", advice)
        return self._compare(sample, evidence) if (low, high) == (0.0, 1.0) else found(self, "pass", evidence)

    def _compare(self, sample: Sample, evidence: str) -> Finding:
        as_given = sample.right
        others = {
            "normalised": (normalised(sample.x), "normalised pictures: put holdfast.models.Normalized around it."),
            "times 255": (sample.x * 255, "0 to 255: divide by 255 inside it, so that eps is in [0, 1] units."),
        }
        rights = {changed: sample.ask(x).argmax(1) == sample.y for changed, (x, _) in others.items()}
        # One that wants them normalised is mostly better times 255 too, but hardly the best; the first wins a tie.
        changed = max(rights, key=lambda name: int(rights[name].sum()))
        right = rights[changed]
        gained, lost = int((right & ~as_given).sum()), int((as_given & ~right).sum())
        if gained - lost > self.better * len(sample) and excess(gained, lost) < 0.01:
            told = f"right on {int(as_given.sum())} of {len(sample)} pictures, on {int(right.sum())} when {changed}"
            return found(self, "fail", told, f"The model expects {others[changed][1]}")
        return found(self, "pass", evidence)


def normalised(x: Tensor) -> Tensor:
    """Pictures (N, C, ...) with mean 0 and deviation 1 in each channel."""
    across = [axis for axis in range(x.ndim) if axis != 1]
    spread = x.std(across, keepdim=True, correction=0)
    return (x - x.mean(across, keepdim=True)) / spread.clamp_min(torch.finfo(x.dtype).eps)
