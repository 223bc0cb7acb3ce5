"""What attacks that wrap another one have in common."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from holdfast.access import Access, View
from holdfast.attacks.attack import (
    Attack,
    begins_elsewhere,
    breadth,
    minimal,
    needs_pictures,
    norms,
    repeats,
    restarts,
    view_of,
    wanders,
)
from holdfast.attacks.case import Case
from holdfast.errors import OptionError
from holdfast.losses import Goal


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """To the engine, the `attack` inside: its name, under which its noise is drawn, its access, rounds and lanes."""

    attack: Attack

    def __post_init__(self) -> None:
        if isinstance(self.attack, type(self) | type) or not isinstance(self.attack, Attack):
            raise OptionError(
                f"{type(self).__name__}: attack={self.attack!r}; allowed: an attack that is not wrapped so yet. "
                "Pass one, such as APGDT()."
            )

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
    def repeats(self) -> int:
        """As often as the attack asks each question."""
        return repeats(self.attack)

    @property
    def breadth(self) -> int:
        """As many points at once as the attack asks about."""
        return breadth(self.attack)

    @property
    def wanders(self) -> bool:
        """Whether the attack asks outside the threat."""
        return wanders(self.attack)

    @property
    def minimal(self) -> bool:
        """Whether the attack looks for the smallest change."""
        return minimal(self.attack)

    @property
    def begins_elsewhere(self) -> bool:
        """Whether the attack begins at another picture."""
        return begins_elsewhere(self.attack)

    @property
    def norms(self) -> tuple[str, ...]:
        """The threats that the attack has a form for."""
        return norms(self.attack)

    @property
    def masks(self) -> tuple[str, ...]:
        """The norms in which the attack heeds a mask."""
        return tuple(getattr(self.attack, "masks", ()))

    @property
    def needs_pictures(self) -> bool:
        """Whether the attack looks at how pixels lie."""
        return needs_pictures(self.attack)

    def view(self, case: Case, look: int) -> View | None:
        """How the model gets to see the attack's points, if not as they are."""
        return view_of(self.attack, case, look)

    @property
    def targets(self) -> Callable[[Tensor, Goal], Tensor] | None:
        """How the attack chooses the classes it heads for, if it does."""
        return getattr(self.attack, "targets", None)


def inside(attack: Any) -> Any:
    """The attack without what is wrapped around it."""
    while isinstance(attack, Wrapper):
        attack = attack.attack
    return attack


def with_inside(attack: Any, change: Callable[[Any], Any]) -> Any:
    """The attack with the innermost one changed, and what is wrapped around it as it was."""
    return replace(attack, attack=with_inside(attack.attack, change)) if isinstance(attack, Wrapper) else change(attack)
