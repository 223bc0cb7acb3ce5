"""Above which suspicion a picture is refused."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import DataError, ModelError, OptionError


@dataclass(frozen=True)
class Threshold:
    """Pictures are refused above `value`; `false_alarms` is what was asked for, `n` the clean pictures it is from."""

    value: float
    false_alarms: float
    n: int


def threshold(suspicion: Tensor, false_alarms: float = 0.05) -> Threshold:
    """The threshold that refuses at most a share `false_alarms` of clean pictures to come.

    Args: `suspicion` (n,) of clean pictures that nothing was fitted on. The threshold is the k-th largest of them,
    k = floor(false_alarms (n + 1)): if pictures to come are exchangeable with these, each is above it with a
    probability of at most `false_alarms`, over the choice of all of them.
    Raises: `OptionError` for a rate outside (0, 1); `DataError` for fewer pictures than the rate needs, which it names;
    `ModelError` for suspicion that is not finite.
    Source: split conformal prediction, Vovk, Gammerman & Shafer 2005, doi:10.1007/b106715.
    """
    check_rate(false_alarms, len(suspicion))
    if not bool(torch.isfinite(suspicion).all()):
        broken = int((~torch.isfinite(suspicion)).sum())
        raise ModelError(
            f"the suspicion of {broken} of {len(suspicion)} clean pictures is NaN or infinite; allowed: finite "
            "numbers. See whether the model's weights or the pictures are broken."
        )
    k = math.floor(false_alarms * (len(suspicion) + 1) + 1e-9)
    return Threshold(float(suspicion.double().topk(k).values[-1]), false_alarms, len(suspicion))


def check_rate(false_alarms: float, count: int) -> None:
    """Whether `count` clean pictures give a threshold at a rate: known before anything is fitted.

    Raises: `OptionError` for a rate outside (0, 1); `DataError` for fewer pictures than it needs.
    """
    if not 0 < false_alarms < 1:
        raise OptionError(f"false_alarms={false_alarms}; allowed: between 0 and 1, such as false_alarms=0.05.")
    least = max(math.ceil(1 / false_alarms - 1e-9) - 1, 1)
    if count < least:
        raise DataError(
            f"{count} clean pictures for a threshold at {false_alarms:g} false alarms; allowed: {least} or "
            "more, or one false alarm among them would already be too many. Give more pictures, or a larger rate."
        )
