"""An attack that is held back until there is reason to doubt the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from holdfast.access import Access, Query
from holdfast.attacks.attack import Attack, restarts, wanders
from holdfast.attacks.case import Case
from holdfast.errors import OptionError
from holdfast.losses import Goal


@dataclass(frozen=True, kw_only=True)
class Reserve:
    """`attack`, which an evaluation runs only where a check casts doubt on gradients, or no check was made.

    To the engine it is the attack itself. Reserves come last in a row of attacks.
    Cost: as `attack`, or nothing.
    """

    attack: Attack
    when: Literal["a check fails"] = field(default="a check fails", metadata={"help": "what calls for it"})

    def __post_init__(self) -> None:
        if isinstance(self.attack, Reserve | type) or not isinstance(self.attack, Attack):
            raise OptionError(f"Reserve: attack={self.attack!r}; allowed: an attack, such as Square(). Pass one.")

    @property
    def access(self) -> Access:
        """As the attack declares it."""
        return self.attack.access

    @property
    def name(self) -> str:
        """The attack's own."""
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

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.step(case, state, answer)
