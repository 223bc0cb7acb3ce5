"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690) as the package pyautoattack has it."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.attacks import External
from holdfast.bridges.library import check_box, library
from holdfast.bridges.library import version as version_of
from holdfast.errors import OptionError
from holdfast.threats import Threat

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}

Version = Literal["standard", "plus", "rand", "custom"]


def autoattack(
    version: Version = "standard", attacks: Sequence[str] | None = None, *, name: str | None = None
) -> External:
    """AutoAttack by pyautoattack: `version`, or with "custom" the `attacks` named, such as ["apgd-ce", "square"].

    It gives back the originals of pictures that it does not break.

    Raises: `OptionError` where the package is missing, for `attacks` without "custom" or the reverse, and when used
    within L0 or a box other than [0, 1]. Cost: its own passes, see `run_external`.
    """
    library("pyautoattack")
    if (version == "custom") != (attacks is not None):
        raise OptionError(
            f"bridges.autoattack: version={version!r} with attacks={attacks!r}; allowed: a version, or 'custom' with "
            "the attacks to run. For example autoattack('custom', ['apgd-ce'])."
        )
    listed = None if attacks is None else list(attacks)
    return External(
        call=partial(_call, version, listed),
        name=name or f"pyautoattack:{version}",
        library=version_of("pyautoattack"),
        options=f"version={version}, attacks={listed}",
        norms=tuple(NORMS),
        restores=True,
    )


def _call(
    version: Version, attacks: list[str] | None, model: nn.Module, x: Tensor, y: Tensor, threat: Threat
) -> Tensor:
    check_box("pyautoattack", threat)
    whole = library("pyautoattack").AutoAttack(
        model,
        attacks=attacks,
        device=x.device,
        eps=float(threat.eps),
        norm=NORMS[threat.name],
        seed=torch.initial_seed() % 2**31,  # it would take the clock
        version=version,
    )
    found: Tensor = whole.run_standard_evaluation(x, y, batch_size=len(x))[0]  # with them come predictions
    return found
