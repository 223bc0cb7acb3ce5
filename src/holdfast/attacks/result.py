"""What an attack found."""

from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

CHECKPOINTS = tuple(base * 10**power for power in range(6) for base in (1, 2, 5))
"""Numbers of points asked after which the size of the smallest success so far is kept."""

PASSES = ("queries", "forward", "backward", "forward_elsewhere", "backward_elsewhere")
"""What adds up where pictures are attacked a second time."""


@dataclass(frozen=True)
class Trace:
    """What each lane saw, round by round; NaN where a lane was not asked.

    Lanes of a picture are numbered cheapest first: attack, then restart, then target.
    """

    loss: Tensor  # (N, lanes, rounds) float32, the first objective, or the margin where no gradient was asked
    gradient: Tensor  # (N, lanes, rounds) float32, 2-norm of the first gradient
    reached: Tensor  # (N, lanes, rounds) bool


@dataclass(frozen=True)
class AttackResult:
    """The best point seen of each picture, as the engine judged it. One row a picture, in the order given.

    A picture whose prediction was wrong before the attack has step 0. It comes back bit for bit, with size 0, unless
    the highest loss was wanted: then it is attacked like the others.
    """

    x_adv: Tensor  # like x, inside the threat
    success: Tensor  # (N,) bool: x_adv reaches the goal; for pictures that reach it from the start too
    size: Tensor  # (N,) float64: of x_adv - x, in the threat's norm, measured at the end
    queries: Tensor  # (N,) int64: points asked by the attack
    forward: Tensor  # (N,) int64: forward passes, the look at the unchanged picture included
    backward: Tensor  # (N,) int64: backward passes
    step: Tensor  # (N,) int64: the question that found x_adv, counted from 1; 0 wrong from the start; -1 no success
    lane: Tensor  # (N,) int64: the lane that found x_adv; -1 if none did
    attack: Tensor  # (N,) int64: the attack that found x_adv, by its place in the list; -1 if none did
    prediction: Tensor  # (N,) int64: of the unchanged picture
    trace: Trace | None = None
    course: Tensor | None = (
        None  # (N, P) float64: smallest success after `CHECKPOINTS` points, if the smallest is sought
    )
    forward_elsewhere: Tensor | None = None  # (N,) int64: passes of another model, on which the pictures were made
    backward_elsewhere: Tensor | None = None  # (N,) int64

    parameters: Tensor | None = None  # (N, ...): what x_adv was rendered from, where the threat is one of parameters

    @property
    def start_wrong(self) -> Tensor:
        """(N,) bool: misclassified before the attack."""
        return self.step == 0


def overwrite(found: AttackResult, rows: Tensor, again: AttackResult) -> AttackResult:
    """`found` with the pictures `rows` (R,) int64 taken from `again`, a second attack on them; passes add up."""
    changed: dict[str, Any] = {}
    for name in (field.name for field in fields(found) if field.name != "trace"):
        old, new = getattr(found, name), getattr(again, name)
        added = old[rows] + new if old is not None and name in PASSES else new
        changed[name] = None if old is None else old.index_copy(0, rows, added)
    return replace(found, **changed)
