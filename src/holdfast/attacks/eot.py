"""Expectation over transformations: any attack on a model that answers at random."""

from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.access import Query
from holdfast.attacks.attack import Asked, Attack
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.reserve import Reserve
from holdfast.attacks.wrapper import Wrapper, inside
from holdfast.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class EoT(Wrapper):
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

    samples: int = field(default=20, metadata={"help": "how often each question is asked"})

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")
        super().__post_init__()
        if getattr(inside(self.attack), "stop_at_cycle", False):
            raise OptionError(
                "EoT: the attack has stop_at_cycle=True; allowed: False, since a model that answers at random goes on "
                "differently from the same place. Leave it out."
            )

    @property
    def repeats(self) -> int:
        """What the engine asks by."""
        return self.samples

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Asked]:
        """As the attack does, on the averaged answer."""
        return self.attack.step(case, state, answer)


def around(attack: Attack, samples: int) -> Attack:
    """The attack, averaged over `samples`, also if it was averaged over another number; inside what holds it back."""
    if isinstance(attack, Reserve):
        return replace(attack, attack=around(attack.attack, samples))
    return replace(attack, samples=samples) if isinstance(attack, EoT) else EoT(attack=attack, samples=samples)
