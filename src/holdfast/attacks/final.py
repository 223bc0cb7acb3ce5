"""Where an attack ends up, for those who train: no look before it begins, none at what it found."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Meter, Oracle, Part, Query, borrow
from holdfast.access.borrow import Model
from holdfast.attacks.attack import Attack
from holdfast.attacks.case import Case
from holdfast.draws import Draws
from holdfast.losses import Goal, Objective
from holdfast.threats import AnyThreat, Rendered


def straight(attack: Attack, threat: AnyThreat) -> bool:
    """Whether `final_points` can run it: it asks for one gradient a round, of one point a lane, in a fixed number of
    rounds, and says so by `straight`. Pictures that are rendered from parameters need the engine.
    """
    fixed = bool(getattr(attack, "straight", False)) and attack.access == Access.GRADIENT
    return fixed and not isinstance(threat, Rendered)


class Climb:
    """A `straight` attack, one question after the other, for whoever has the answers.

    Args: as for `final_points`. The steps, the geometry and the noise are the attack's own. No model call.
    """

    def __init__(
        self, attack: Attack, x: Tensor, y: Tensor, threat: AnyThreat, *, seed: int = 0, picture: Tensor | None = None
    ) -> None:
        assert not isinstance(threat, Rendered)  # said by `straight`
        x = x.detach()
        place = torch.arange(len(x), device=x.device) if picture is None else picture.to(x.device)
        draws = Draws(seed, place, attack=zlib.crc32(attack.name.encode()))
        self.attack = attack
        self.case = Case(x, Goal(y), threat, threat.limits(x), draws)
        self.state, self.query = attack.start(self.case)

    @property
    def points(self) -> Tensor:
        """(N, C, H, W), where it stands."""
        return self.query.points

    def go_on(self, logits: Tensor, losses: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step, given the logits (N, K), the losses (N,) and their gradients (N, C, H, W) at `points`."""
        answer = answered(self.points, self.case.goal, logits, losses, gradients)
        self.case = self.case.next_round()
        self.state, asked = self.attack.step(self.case, self.state, answer)
        assert isinstance(asked, Query)  # one question for all lanes, said by `straight`
        self.query = asked


@torch.inference_mode(False)
def final_points(
    attack: Attack,
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: AnyThreat,
    *,
    seed: int = 0,
    picture: Tensor | None = None,
    objective: Objective | None = None,
) -> Tensor:
    """The last point (N, C, H, W) that a `straight` attack would ask about, whatever the model says of it.

    Adversarial training wants this and nothing more. The engine looks at the pictures before, to leave out those that
    are wrong, and at the last point after, to keep the best: for a single step that doubles the cost. The steps, the
    geometry and the noise are the attack's own, so that where no lane is closed early the engine ends at the same
    point.

    Args: as for `run`; `x` and `y` lie on the model's device and inside the box, which is not checked; `objective`
    is climbed in the place of the attack's own loss, its rows being the pictures in their order.
    Cost: a forward and a backward pass a round but the last. No wait for the device.
    """
    with borrow(model) as lent, torch.no_grad():
        climb = Climb(attack, x, y, threat, seed=seed, picture=picture)
        oracle = Oracle(lent, max(1, len(x)), Meter(len(x), x.device))
        for _ in range(attack.rounds - 1):
            climbed = climb.query.objectives if objective is None else (objective,)
            climb.go_on(*gradient_at(oracle, climb.points, climbed, climb.case.goal))
    return climb.points


def gradient_at(
    oracle: Oracle, points: Tensor, objectives: Sequence[Objective], goal: Goal
) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Logits, losses and their gradients at the points: one pass forward, one back for each objective."""
    part = Part(points, torch.arange(len(points), device=points.device), goal, tuple(objectives))
    (found,) = oracle.gradients([part])
    return found


def answered(
    points: Tensor, goal: Goal, logits: Tensor, losses: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Gradient:
    """One round's answer."""
    labels = logits.argmax(1)
    return Gradient(
        points=points,
        labels=labels,
        reached=goal.reached(logits, labels),
        logits=logits,
        losses=tuple(losses),
        gradients=tuple(gradients),
    )
