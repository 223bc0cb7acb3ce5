"""Who a model is trained against: one of the library's own attacks within a threat, and a method of training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access import Access
from holdfast.access.borrow import float_type
from holdfast.attacks import PGD, Aim, Attack, build, final_points, run, straight
from holdfast.attacks.attack import minimal
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.losses import Objective
from holdfast.options import to_plain
from holdfast.threats import AnyThreat, plain, whole_box
from holdfast.train.methods import Hardened, Method

FEW_STEPS = {"pgd": {"steps": "7", "step_size": "0.25"}}
ENOUGH = 7  # gradients, below which an attack is too weak to judge by: a net may have learnt to fool single steps
JUDGE = PGD(steps=10, step_size=0.25)


@dataclass(frozen=True)
class Adversary:
    """An attack, the threat it stays within, and the method of training on what it finds.

    Raises: `OptionError` for a radius per picture, which a batch of others could not share, for an attack without
    gradients, and for one that cannot climb what the method wants.
    """

    attack: Attack
    threat: AnyThreat
    method: Method = field(default_factory=Hardened)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained against."""
        if isinstance(self.threat.eps, Tensor):
            raise OptionError("train: eps is a tensor; allowed: one number for all pictures. Pass eps=8/255.")
        if self.attack.access < Access.GRADIENT:
            raise OptionError(
                f"train: attack {self.attack.name!r} looks only at {self.attack.access.name.lower()} and ranks no "
                "points by loss; allowed: attacks by gradient, such as PGD(steps=10)."
            )

    def harden(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        place: Tensor,
        *,
        seed: int,
        strength: float = 1.0,
        objective: Objective | None = None,
    ) -> Tensor:
        """The pictures (N, C, H, W) moved uphill by the attack, within `strength` eps.

        The last point of an attack in a fixed number of gradients, as training takes it since Madry et al.; of any
        other the best: the highest loss, or for one that heeds no radius the smallest change that fools, wherever in
        the box; neither eps nor `strength` plays a part then, and what is misclassified already is left as it is.
        The model is lent in evaluation mode and given back as it was; else pictures that are misclassified already are
        attacked as well. `place` (N,) keys the noise; `objective` is climbed in the place of the attack's own loss.
        """
        eps = whole_box(self.threat, tuple(x.shape[1:])) if self.unlimited else strength * self.threat.eps
        threat = self.threat.with_eps(eps)
        if straight(self.attack, threat):
            return final_points(self.attack, model, x, y, threat, seed=seed, picture=place, objective=objective)
        assert objective is None  # the method asks for it only of straight attacks
        aim: Aim = "smallest" if self.unlimited else "highest_loss"
        found = run(self.attack, model, x, y, threat, seed=seed, batch=len(x), picture=place, aim=aim)
        return found.x_adv

    @property
    def unlimited(self) -> bool:
        """Whether the attack heeds no radius, so that every picture is fooled sooner or later."""
        return minimal(self.attack)

    @property
    def judge(self) -> Attack:
        """The attack that validation pictures are to withstand: this one, or `JUDGE` where it takes too few steps."""
        return JUDGE if getattr(self.attack, "straight", False) and self.attack.rounds <= ENOUGH else self.attack

    def withstood(self, model: nn.Module, pictures: Pictures, *, batch: int, seed: int) -> int:
        """How many pictures are right and stay right under the judge's attack."""
        kept = 0
        for part in rows_of(pictures, batch):
            found = run(
                self.judge,
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
            "method": {"name": self.method.name, **to_plain(self.method)},
        }


def inner_attack(name: str, options: Mapping[str, object] | None = None) -> Attack:
    """An attack for training, by name with options as values or text: where none are given, few and large steps.

    Source: Madry et al. 2018, arXiv:1706.06083, sec. 5, has 7 steps of 2 at eps=8 on CIFAR-10.
    """
    return build(name, {**FEW_STEPS.get(name, {}), **(options or {})})


def rows_of(pictures: Pictures, batch: int) -> tuple[Tensor, ...]:
    """The rows of all pictures in order, in batches, on the pictures' device."""
    return torch.split(torch.arange(len(pictures), device=pictures.labels.device), batch)


def broken(model: nn.Module) -> bool:
    """Whether a weight is NaN or infinite."""
    return not all(bool(p.isfinite().all()) for p in model.parameters())
