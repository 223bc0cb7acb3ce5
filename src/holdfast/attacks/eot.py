"""Expectation over transformations: any attack on a model that answers at random, or on pictures seen at random."""

from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.access import Query, View
from holdfast.attacks.attack import Asked, Attack, needs_pictures
from holdfast.attacks.case import Case
from holdfast.attacks.external import External
from holdfast.attacks.options import at_least
from holdfast.attacks.reserve import Reserve
from holdfast.attacks.views import Views
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
    With `views` it is the picture that varies: the first sample sees the point as it is, each of the others a random
    view of it, and gradients come back through the view. So a success is one as it is and in all views drawn; where
    there is none, the point of the highest mean loss is kept.
    Cost: `samples` times the passes of `attack`, those of the look at the unchanged picture included.
    Source: Athalye, Engstrom, Ilyas & Kwok 2018, arXiv:1707.07397, sec. 2; as a means against random defences:
    Athalye, Carlini & Wagner 2018, arXiv:1802.00420, sec. 4.2. AutoAttack's version for such models (Croce & Hein 2020,
    arXiv:2003.01690) averages 20 gradients and judges by the last one's logits.
    """

    samples: int = field(default=20, metadata={"help": "how often each question is asked"})
    views: Views | None = field(default=None, metadata={"help": "how pictures vary from sample to sample"})

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")
        super().__post_init__()
        if self.views is not None and self.samples < 2:
            raise OptionError(
                f"EoT: samples={self.samples} with views; allowed: 2 or more, as the first sample is the picture as it "
                "is. Pass samples=10, or --eot 10."
            )
        if getattr(inside(self.attack), "stop_at_cycle", False):
            raise OptionError(
                "EoT: the attack has stop_at_cycle=True; allowed: False, since a model that answers at random goes on "
                "differently from the same place. Leave it out."
            )

    @property
    def repeats(self) -> int:
        """What the engine asks by."""
        return self.samples

    def view(self, case: Case, look: int) -> View | None:
        """How the model gets to see the points of each lane at that look: as they are at the first."""
        if self.views is None or look == 0:
            return None
        return self.views.drawn(case.draws, case.x, look, case.threat.low, case.threat.high)

    @property
    def needs_pictures(self) -> bool:
        """Whether there are views, of pictures, or the attack looks at how pixels lie."""
        return self.views is not None or needs_pictures(self.attack)

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Asked]:
        """As the attack does, on the averaged answer."""
        return self.attack.step(case, state, answer)


def around(attack: Attack, samples: int, views: Views | None = None) -> Attack:
    """The attack, averaged over `samples`, also if it was averaged over another number; inside what holds it back."""
    if isinstance(attack, Reserve):
        return replace(attack, attack=around(attack.attack, samples, views))
    if isinstance(attack, EoT):
        return replace(attack, samples=samples, views=views or attack.views)
    return EoT(attack=attack, samples=samples, views=views)


def views_of(attack: object) -> Views | None:
    """The views that an attack averages over, however deep in wrappers or on another model; None for none."""
    if isinstance(attack, External):
        attack = getattr(attack.call, "attack", None)
    while isinstance(attack, Wrapper):
        if isinstance(attack, EoT) and attack.views is not None:
            return attack.views
        attack = attack.attack
    return None
