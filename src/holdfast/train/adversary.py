"""Who a model is trained against: one of the library's own attacks within a threat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access import Access
from holdfast.access.borrow import float_type
from holdfast.attacks import Attack, build, run
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.options import to_plain
from holdfast.threats import AnyThreat, plain

FEW_STEPS = {"pgd": {"steps": "7", "step_size": "0.25"}}


@dataclass(frozen=True)
class Adversary:
    """An attack and the threat it stays within.

    Raises: `OptionError` for a radius per picture, which a batch of others could not share.
    """

    attack: Attack
    threat: AnyThreat

    def __post_init__(self) -> None:
        """Refuse radii that belong to certain pictures."""
        if isinstance(self.threat.eps, Tensor):
            raise OptionError("train: eps is a tensor; allowed: one number for all pictures. Pass eps=8/255.")

    def harden(
        self, model: nn.Module, x: Tensor, y: Tensor, place: Tensor, *, seed: int, strength: float = 1.0
    ) -> Tensor:
        """The pictures (N, C, H, W) moved to the highest loss that the attack finds, within `strength` eps.

        The engine attacks in evaluation mode and gives the model back as it was; pictures that are misclassified
        already are attacked as well. `place` (N,) keys the noise.
        """
        threat = self.threat.with_eps(strength * self.threat.eps)
        found = run(self.attack, model, x, y, threat, seed=seed, batch=len(x), picture=place, aim="highest_loss")
        return found.x_adv

    def withstood(self, model: nn.Module, pictures: Pictures, *, batch: int, seed: int) -> int:
        """How many pictures are right and stay right under the attack."""
        kept = 0
        for part in rows_of(pictures, batch):
            found = run(
                self.attack,
                model,
                pictures.x(part, float_type(model)),
                pictures.labels[part],
                self.threat,
                seed=seed,
                batch=batch,
                picture=pictures.place[part],
            )
            kept += len(part) - int((found.success | found.start_wrong).sum())
        return kept

    def plain(self) -> dict[str, Any]:
        """As train.json has it."""
        return {
            "attack": {"name": self.attack.name, **to_plain(self.attack)},
            "threat": plain(self.threat),
        }


def inner_attack(name: str, options: Mapping[str, str] | None = None) -> Attack:
    """An attack for training, by name with options as text: where none are given, few and large steps.

    Source: Madry et al. 2018, arXiv:1706.06083, sec. 5, has 7 steps of 2 at eps=8 on CIFAR-10.
    """
    return build(name, {**FEW_STEPS.get(name, {}), **(options or {})})


def paired(attack: Attack | None, threat: AnyThreat | None) -> Adversary | None:
    """Both or neither. Raises: `OptionError` for one alone, and for an attack that takes no gradient."""
    if attack is None and threat is None:
        return None
    if attack is None or threat is None:
        given, missing = ("threat", "attack") if attack is None else ("attack", "threat")
        raise OptionError(
            f"train: {given} given without {missing}; allowed: both, for adversarial training, or neither. "
            "For example attack=PGD(steps=10), threat=Linf(eps=8/255)."
        )
    if attack.access < Access.GRADIENT:
        raise OptionError(
            f"train: attack {attack.name!r} looks only at {attack.access.name.lower()} and ranks no points by loss; "
            "allowed: attacks by gradient, such as PGD(steps=10)."
        )
    return Adversary(attack, threat)


def rows_of(pictures: Pictures, batch: int) -> tuple[Tensor, ...]:
    """The rows of all pictures in order, in batches, on the pictures' device."""
    return torch.split(torch.arange(len(pictures), device=pictures.labels.device), batch)


def broken(model: nn.Module) -> bool:
    """Whether a weight is NaN or infinite."""
    return not all(bool(p.isfinite().all()) for p in model.parameters())
