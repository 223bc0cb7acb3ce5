"""The attacks to train against, by name, with the options that training wants."""

from collections.abc import Mapping

from holdfast.attacks import ATTACKS, PGD, Attack
from holdfast.errors import unknown
from holdfast.options import parse
from holdfast.train.nfgsm import NFGSM

FEW_STEPS = {"pgd": {"steps": "7", "step_size": "0.25"}, "fast": {"steps": "1", "step_size": "1.25"}}
INNER: dict[str, type[Attack]] = {**ATTACKS, "fast": PGD, "n-fgsm": NFGSM}
"""The attacks to train against, by name: all of the library's, PGD with one large step, and one for training only."""


def inner_attack(name: str, options: Mapping[str, object] | None = None) -> Attack:
    """An attack for training, by name with options as values or text: where none are given, few and large steps.

    Beside the names of `holdfast.attacks`: "fast", one step of 1.25 radii from a random start, which is PGD; and
    "n-fgsm".
    Raises: `OptionError` for an unknown name, option or value, with the nearest known ones.
    Source: Madry et al. 2018, arXiv:1706.06083, sec. 5, has 7 steps of 2 at eps=8 on CIFAR-10. Fast: Wong, Rice &
    Kolter 2020, arXiv:2001.03994, algorithm 3.
    """
    if name not in INNER:
        raise unknown("attack", name, INNER)
    return parse(INNER[name], {**FEW_STEPS.get(name, {}), **(options or {})})
