"""An attack that is held back until there is reason to doubt the others."""

from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.access import Query
from holdfast.attacks.attack import Asked
from holdfast.attacks.case import Case
from holdfast.attacks.wrapper import Wrapper


@dataclass(frozen=True, kw_only=True)
class Reserve(Wrapper):
    """`attack`, which an evaluation runs only where a check casts doubt on gradients, or no check was made.

    To the engine it is the attack itself. Reserves come last in a row of attacks.
    Cost: as `attack`, or nothing.
    """

    when: Literal["a check fails"] = field(default="a check fails", metadata={"help": "what calls for it"})

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Asked]:
        """As the attack does."""
        return self.attack.step(case, state, answer)
