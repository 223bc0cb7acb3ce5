"""Who a model is trained against: one of the library's own attacks within a threat, and a method of training."""

import zlib
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.access import Access, borrow
from holdfast.access.borrow import float_type
from holdfast.attacks import PGD, Aim, Attack, Climb, final_points, run, straight
from holdfast.attacks.attack import minimal, suits
from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import column
from holdfast.losses import Goal, Objective, objectives
from holdfast.options import to_plain
from holdfast.threats import AnyThreat, of_pixels, plain, whole_box
from holdfast.train.cut import rows_of
from holdfast.train.methods import Hardened, Method
from holdfast.train.nfgsm import NFGSM

ENOUGH = 7  # gradients, below which an attack is too weak to judge by: a net may have learnt to fool single steps
JUDGE = PGD(steps=10, step_size=0.25)

Combine = Literal["worst", "average", "random"]


@dataclass(frozen=True)
class Adversary:
    """An attack, the threat it stays within, and the method of training on what it finds.

    With `further` threats the attack is made within each, and a picture is trained on the `worst` of what was found, by
    its loss; on all, its loss being their `average`; or on that of one threat, drawn at `random` for each picture and
    epoch. A validation picture holds if it withstands the attack within every threat.
    Raises: `OptionError` for a radius per picture, which a batch of others could not share, for an attack without
    gradients or without a form for the threat, and for one that cannot climb what the method wants.
    Source: several threats: Tramer & Boneh 2019, arXiv:1904.13000, sec. 2, strategies "max" and "avg".
    """

    attack: Attack
    threat: AnyThreat
    method: Method = field(default_factory=Hardened)
    further: tuple[AnyThreat, ...] = ()
    combine: Combine = "worst"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained against."""
        if any(isinstance(threat.eps, Tensor) for threat in self.threats):
            raise OptionError("train: eps is a tensor; allowed: one number for all pictures. Pass eps=8/255.")
        if self.attack.access < Access.GRADIENT:
            raise OptionError(
                f"train: attack {self.attack.name!r} looks only at {self.attack.access.name.lower()} and ranks no "
                "points by loss; allowed: attacks by gradient, such as PGD(steps=10)."
            )
        if self.combine not in get_args(Combine):
            raise OptionError(f"train: combine={self.combine!r}; allowed: {', '.join(get_args(Combine))}.")
        self._check_threats()
        self.method.check(self.attack, self.threats)

    def _check_threats(self) -> None:
        """Raise where the attack has no form for a threat, or another box would lie around the same pictures."""
        for threat in self.threats:
            if not suits(self.attack, threat):
                raise OptionError(
                    f"train: attack {self.attack.name!r} has no form for threat {threat.name!r}; allowed: attacks that "
                    "have, such as PGD(steps=10)."
                )
            if (threat.low, threat.high) != (self.threat.low, self.threat.high):
                raise OptionError(
                    f"train: boxes [{threat.low:g}, {threat.high:g}] and [{self.threat.low:g}, {self.threat.high:g}]; "
                    "allowed: the same for all threats."
                )
            if isinstance(self.attack, NFGSM):
                self.attack.wide(of_pixels(threat, "train: n-fgsm"))  # noise wider than the box is refused there

    @property
    def threats(self) -> tuple[AnyThreat, ...]:
        """All of them."""
        return (self.threat, *self.further)

    @property
    def copies(self) -> int:
        """How many pictures are trained on for each one."""
        return len(self.threats) if self.combine == "average" else 1

    def harden(
        self, model: nn.Module, x: Tensor, y: Tensor, place: Tensor, *, seed: int, strength: float = 1.0
    ) -> Tensor:
        """The pictures (N, C, H, W) moved uphill by the attack, within `strength` eps.

        The last point of an attack in a fixed number of gradients, as training takes it since Madry et al.; of any
        other the best: the highest loss, or for one that heeds no radius the smallest change that fools, wherever in
        the box; neither eps nor `strength` plays a part then, and what is misclassified already is left as it is.
        The model is lent in evaluation mode and given back as it was; else pictures that are misclassified already are
        attacked as well. `place` (N,) keys the noise. Several threats whose losses are averaged give (T N, C, H, W):
        all pictures within the first threat, then all within the second.
        Cost: the attack's passes a threat; of `worst`, one forward pass more a threat; of `random`, those of one.
        """
        threats = [self._within(threat, x, strength) for threat in self.threats]
        if len(threats) > 1 and self.combine == "random":
            return self._one_each(model, x, y, place, threats, seed)
        climbed = self.method.climbed(model, x)
        found = [
            self._found(model, x, y, place, threat, seed + number, climbed) for number, threat in enumerate(threats)
        ]
        if len(found) == 1:
            return found[0]
        return torch.cat(found) if self.combine == "average" else worst(model, found, y, climbed)

    def walk(self, x: Tensor, y: Tensor, place: Tensor, *, seed: int, strength: float = 1.0) -> Climb:
        """The attack at its start, for a method that goes on by gradients of its own."""
        threat = self.threat.with_eps(strength * self.threat.eps)
        return Climb(self.attack, x, y, threat, seed=seed, picture=place)

    def _within(self, threat: AnyThreat, x: Tensor, strength: float) -> AnyThreat:
        """A threat at its strength, or the whole box for an attack that heeds no radius."""
        eps = whole_box(threat, tuple(x.shape[1:])) if self.unlimited else strength * threat.eps
        return threat.with_eps(eps)

    def _one_each(
        self, model: nn.Module, x: Tensor, y: Tensor, place: Tensor, threats: list[AnyThreat], seed: int
    ) -> Tensor:
        """Each picture within a threat of its own, by chance."""
        draws = Draws(seed, place, attack=zlib.crc32(b"threat"))
        which = draws.integers(x.new_empty(len(x), 1), len(threats)).squeeze(1)
        moved = x.clone()
        for number, threat in enumerate(threats):
            rows = (which == number).nonzero().squeeze(1)
            if len(rows):
                few = x[rows]
                climbed = self.method.climbed(model, few)
                moved[rows] = self._found(model, few, y[rows], place[rows], threat, seed + number, climbed)
        return moved

    def _found(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        place: Tensor,
        threat: AnyThreat,
        seed: int,
        objective: Objective | None,
    ) -> Tensor:
        """The attack within one threat."""
        if straight(self.attack, threat):
            return final_points(self.attack, model, x, y, threat, seed=seed, picture=place, objective=objective)
        assert objective is None  # the method has refused others
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
        """How many pictures are right and stay right under the judge's attack, within every threat."""
        for threat in self.threats:
            if not len(pictures):
                break
            held = [self._held(model, pictures, rows, threat, seed) for rows in rows_of(pictures, batch)]
            pictures = pictures.take(torch.cat(held))
        return len(pictures)

    def _held(self, model: nn.Module, pictures: Pictures, rows: Tensor, threat: AnyThreat, seed: int) -> Tensor:
        """Those of the rows that withstand it within one threat."""
        x, y, place = pictures.x(rows, float_type(model)), pictures.labels[rows], pictures.place[rows]
        found = run(self.judge, model, x, y, threat, seed=seed, batch=len(x), picture=place)
        return rows[~(found.success | found.start_wrong).to(rows.device)]

    def plain(self) -> dict[str, Any]:
        """As train.json has it."""
        return {
            "attack": {"name": self.attack.name, **to_plain(self.attack)},
            "threat": plain(self.threat),
            "further": [plain(threat) for threat in self.further],
            "combine": self.combine,
            "method": {"name": self.method.name, **to_plain(self.method)},
        }


def worst(model: nn.Module, found: list[Tensor], y: Tensor, climbed: Objective | None) -> Tensor:
    """Of several tensors of moved pictures, for each picture the one of the highest loss: a forward pass each."""
    climbed, goal = climbed or objectives.cross_entropy, Goal(y)
    with borrow(model) as lent, torch.no_grad():
        losses = torch.stack([climbed(lent(x_adv), goal) for x_adv in found])
    largest = losses.argmax(0)
    best = found[0]
    for number, x_adv in enumerate(found[1:], start=1):
        best = torch.where(column(largest == number, x_adv), x_adv, best)
    return best
