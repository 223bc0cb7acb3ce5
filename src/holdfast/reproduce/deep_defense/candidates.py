"""Recipes for the five epochs after the ten, among which the validation split chooses one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.attacks import PGD
from holdfast.threats import L2
from holdfast.train import Adversary, DeepDefense, Penalty

FALLING = {"schedule": "cosine", "batch": 256, "learning_rate": 4e-3}


@dataclass(frozen=True)
class Way:
    """How training goes on after the first epochs; `moved`: on DeepFool's pictures in the place of the pictures."""

    penalties: tuple[Penalty, ...] = ()
    moved: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    adversary: Adversary | None = None


def _hardened(eps: float, *penalties: Penalty, **options: Any) -> Way:
    adversary = Adversary(PGD(steps=2, step_size=0.7), L2(eps=eps))
    return Way(penalties=penalties, options={**FALLING, **options}, adversary=adversary)


SHORT = DeepDefense(steps=3)  # most pictures have crossed by then

CANDIDATES = {
    "PGD in L2, eps 0.5": _hardened(0.5),
    "Deep Defense, falling rate": Way(penalties=(SHORT,), options=FALLING),
    "Deep Defense and PGD in L2, eps 0.1, averaged": _hardened(0.1, SHORT, average="ema", average_decay=0.995),
    "Deep Defense and PGD in L2, eps 0.15": _hardened(0.15, SHORT),
    "Deep Defense and PGD in L2, eps 0.3": _hardened(0.3, SHORT),
}
