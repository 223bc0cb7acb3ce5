"""How sure a model is of pictures under attack, from the records that the verifier left."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.uncertainty import Answered, Interval, intervals_of


@dataclass(frozen=True)
class UnderAttack:
    """One radius: the ECE, each picture with the confidence it was found with."""

    ece: Interval
    confidence: float  # mean


def under_attack(
    records: Mapping[str, Tensor], *, bins: int, resamples: int = 1000, seed: int = 0
) -> tuple[UnderAttack, ...]:
    """Calibration at each radius, ascending, of records as `holdfast.evaluate.shards.Shard` has them.

    A picture broken at this radius or a smaller one is wrong, with the confidence of its adversarial picture at the
    largest radius so far that has one; any other has the confidence of what the attack returned, and is right if it was
    right before. The attack did not look for confidence, so that one which does may leave the model surer still.
    Cost: no model call.
    """
    before = records["label"] == records["prediction"]
    said = records["confidence_adv"][0].double()
    found = []
    for row, broken in enumerate(records["broken"].bool()):
        fresh = records["success"][row].bool() | ~broken
        said = torch.where(fresh, records["confidence_adv"][row].double(), said)
        right = before & ~broken
        nothing = torch.zeros_like(said)
        told = Answered(said.clamp(0, 1), right, nothing, nothing)
        ece = intervals_of(told, bins=bins, resamples=resamples, seed=seed)["ece"]
        found.append(UnderAttack(ece, float(said.mean())))
    return tuple(found)
