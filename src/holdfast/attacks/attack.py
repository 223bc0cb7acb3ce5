"""What an attack is: a frozen record of options that asks questions and never touches the model."""

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from holdfast.access import Access, Query, View
from holdfast.attacks.case import Case
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.threats import NORMS, AnyThreat, Masked, Rendered

ON_PARAMETERS = "linf"  # the threat on the parameters of those that render pictures
WHOLE = tuple(NORMS)
"""The threats that may change the whole picture: for attacks that know no bounds but the radius and the box."""

Asked = Query | Sequence[tuple[Tensor, Query]]
"""A question of all lanes; or, where they want different things, one for each mask (L,) bool, every lane in just one.
Each query is made out for all lanes and asked for those in its mask."""


@runtime_checkable
class Attack(Protocol):
    """The interface of all attacks.

    State is any tree of tensors with the lane axis first (`holdfast.lanes`), built alike by `start` and `step`; it is
    the attack's only memory. The engine drops, refills and merges lanes between any two steps, so a lane's state must
    not depend on other lanes. Points that were asked about must not be changed in place.
    """

    @property
    def access(self) -> Access:
        """The most it may learn from an answer."""
        ...

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    @property
    def rounds(self) -> int:
        """The most questions a lane asks. The answer to the last is only looked at, never stepped on."""
        ...

    def start(self, case: Case) -> tuple[Any, Query]:
        """The first state and question of new lanes."""
        ...

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Asked]:
        """The next state and question, given the answer to the last one."""
        ...


def restarts(attack: Attack) -> int:
    """How often each picture is attacked from the start."""
    return int(getattr(attack, "restarts", 1))


def repeats(attack: object) -> int:
    """How often each of its questions is asked, to be averaged; said by `repeats` (`holdfast.attacks.EoT`)."""
    return int(getattr(attack, "repeats", 1))


def view_of(attack: object, case: Case, look: int) -> View | None:
    """How the model gets to see the points of each lane at that look, from 0, if the attack has a method `view`."""
    shown = getattr(attack, "view", None)
    return None if shown is None else cast("View | None", shown(case, look))


def breadth(attack: object) -> int:
    """About how many points a lane asks about at once, said by `breadth`; a batch holds as many fewer lanes."""
    return int(getattr(attack, "breadth", 1))


def targets(attack: Attack, logits: Tensor, goal: Goal) -> Tensor | None:
    """(N, T) int64 classes that lanes head for, if the attack has a method `targets` that chooses them.

    It sees the logits (N, K) of the unchanged pictures, which the engine has anyway.
    """
    choose = getattr(attack, "targets", None)
    if choose is None:
        return None
    if attack.access < Access.SCORES:
        raise OptionError(
            f"{attack.name} chooses targets by the logits but declares access to {attack.access.name.lower()}; "
            "allowed: scores or more. Raise its `access`, or leave `targets` out."
        )
    return cast(Tensor, choose(logits, goal))


def wanders(attack: Attack) -> bool:
    """Whether it asks about points outside the threat, which then must not count; said by `wanders = True`."""
    return bool(getattr(attack, "wanders", False)) or minimal(attack)


def minimal(attack: object) -> bool:
    """Whether it looks for the smallest change and heeds no radius (`holdfast.attacks.smallest`); said by `minimal`."""
    return bool(getattr(attack, "minimal", False))


def guarded(attack: object) -> bool:
    """Whether it attacks guarded models alone (`holdfast.models.Guarded`); said by `guarded = True`."""
    return bool(getattr(attack, "guarded", False))


def begins_elsewhere(attack: object) -> bool:
    """Whether it begins at another picture that reaches the goal (`Case.beginning`); said by `begins_elsewhere`."""
    return bool(getattr(attack, "begins_elsewhere", False))


def norms(attack: object) -> tuple[str, ...]:
    """The names of the threats it has a form for, said by `norms`; none for all of them."""
    return tuple(getattr(attack, "norms", ()))


def needs_pictures(attack: object) -> bool:
    """Whether it looks at how pixels lie, and can do nothing with parameters; said by `needs_pictures = True`."""
    return bool(getattr(attack, "needs_pictures", False))


def suits(attack: object, threat: AnyThreat) -> bool:
    """Whether it has a form for the threat: for any, where it names none by `norms`.

    Under a mask, where it names some, the norm inside must be among its `masks`, those in which it heeds one. Where
    pictures are rendered, what counts is the threat on their parameters; other pictures to begin at say nothing of
    these, nor does what looks at how pixels lie.
    """
    names = norms(attack)
    if isinstance(threat, Rendered):
        lifted = not begins_elsewhere(attack) and not needs_pictures(attack)
        return threat.name in names or (lifted and (not names or ON_PARAMETERS in names))
    if not names or threat.name in names:
        return True
    return isinstance(threat, Masked) and threat.norm in tuple(getattr(attack, "masks", ()))
