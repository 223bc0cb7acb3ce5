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
    assert not isinstance(threat, Rendered)  # said by `straight`
    x = x.detach()
    place = torch.arange(len(x), device=x.device) if picture is None else picture.to(x.device)
    draws = Draws(seed, place, attack=zlib.crc32(attack.name.encode()))
    goal = Goal(y)
    with borrow(model) as lent, torch.no_grad():
        oracle = Oracle(lent, max(1, len(x)), Meter(len(x), x.device))
        case = Case(x, goal, threat, threat.limits(x), draws)
        state, query = attack.start(case)
        for _ in range(attack.rounds - 1):
            climbed = query.objectives if objective is None else (objective,)
            answer = gradient_at(oracle, query.points, climbed, goal)
            case = case.next_round()
            state, asked = attack.step(case, state, answer)
            assert isinstance(asked, Query)  # one question for all lanes, said by `straight`
            query = asked
    return query.points


def gradient_at(oracle: Oracle, points: Tensor, objectives: Sequence[Objective], goal: Goal) -> Gradient:
    """One round's answer, with the one or more gradients that were asked for."""
    part = Part(points, torch.arange(len(points), device=points.device), goal, tuple(objectives))
    ((logits, losses, gradients),) = oracle.gradients([part])
    labels = logits.argmax(1)
    return Gradient(
        points=points,
        labels=labels,
        reached=goal.reached(logits, labels),
        logits=logits,
        losses=losses,
        gradients=gradients,
    )
