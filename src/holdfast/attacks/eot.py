"""Expectation over transformations: any attack on a model that answers at random."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from holdfast.access import Access, Query
from holdfast.attacks.attack import Attack, restarts, wanders
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.errors import OptionError
from holdfast.losses import Goal


@dataclass(frozen=True, kw_only=True)
class EoT:
    """`attack`, each of whose questions is asked `samples` times, in as many calls of the model, and averaged.

    The attack sees the mean of the logits, losses and gradients: of a gradient, an unbiased estimate of that of the
    expected loss. A point counts as a success only where it is one in every sample, and a picture as wrong from the
    start likewise: where one sample would do, a picture would be given up at its first lucky draw, at a point that
    seldom fools the model again. Calls and not copies in one batch, as a model may draw once for a whole batch.
    With `samples=1` this is the attack itself, bit for bit; on a model that is not random, any number takes the same
    course up to rounding.
    Cost: `samples` times the passes of `attack`, those of the look at the unchanged picture included.
    Source: Athalye, Engstrom, Ilyas & Kwok 2018, arXiv:1707.07397, sec. 2; as a means against random defences:
    Athalye, Carlini & Wagner 2018, arXiv:1802.00420, sec. 4.2. AutoAttack's version for such models (Croce & Hein 2020,
    arXiv:2003.01690) averages 20 gradients and judges by the last one's logits.
    """

    attack: Attack
    samples: int = field(default=20, metadata={"help": "how often each question is asked"})

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")
        if isinstance(self.attack, EoT | type) or not isinstance(self.attack, Attack):
            raise OptionError(
                f"EoT: attack={self.attack!r}; allowed: an attack that is not averaged yet, such as PGD(). "
                "For more samples, pass a larger number."
            )

    @property
    def access(self) -> Access:
        """As the attack declares it."""
        return self.attack.access

    @property
    def name(self) -> str:
        """The attack's own, under which its noise is drawn too."""
        return self.attack.name

    @property
    def rounds(self) -> int:
        """As many questions as the attack has."""
        return self.attack.rounds

    @property
    def restarts(self) -> int:
        """As often as the attack starts anew."""
        return restarts(self.attack)

    @property
    def wanders(self) -> bool:
        """Whether the attack asks outside the threat."""
        return wanders(self.attack)

    @property
    def targets(self) -> Callable[[Tensor, Goal], Tensor] | None:
        """How the attack chooses the classes it heads for, if it does."""
        return getattr(self.attack, "targets", None)

    @property
    def repeats(self) -> int:
        """What the engine asks by."""
        return self.samples

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Query]:
        """As the attack does, on the averaged answer."""
        return self.attack.step(case, state, answer)


def around(attack: Attack, samples: int) -> EoT:
    """The attack, averaged over `samples`, also if it was averaged over another number."""
    return replace(attack, samples=samples) if isinstance(attack, EoT) else EoT(attack=attack, samples=samples)


def within(attack: Any) -> Any:
    """The attack without the averaging around it."""
    return attack.attack if isinstance(attack, EoT) else attack
