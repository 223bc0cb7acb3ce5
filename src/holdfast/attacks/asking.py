"""From groups of lanes to questions of the oracle, and back to answers of the right type."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from holdfast.access import Access, Answer, Budget, Gradient, Jacobian, Labels, Meter, Oracle, Part, Scores
from holdfast.access.answer import averaged
from holdfast.attacks.attack import repeats
from holdfast.attacks.check import check_answer
from holdfast.attacks.group import Group
from holdfast.lanes import take
from holdfast.losses import Goal

Full = Scores | Gradient | Jacobian
Some = TypeVar("Some", bound=Scores)


def ask(oracle: Oracle, groups: Sequence[Group]) -> Sequence[Answer]:
    """The full answers to the questions of all groups, each averaged over as many as its attack wants."""
    return repeated(partial(ask_once, oracle), groups)


def look(oracle: Oracle, groups: Sequence[Group]) -> list[Scores]:
    """The scores at the points of all groups, averaged likewise."""
    return repeated(partial(look_once, oracle), groups)


def repeated(once: Callable[[Sequence[Group], int], list[Some]], groups: Sequence[Group]) -> list[Some]:
    """What `once` answers to groups, in one call after the other where their attacks ask repeatedly; looks count up."""
    found: dict[int, Some] = {}
    for times in sorted({repeats(group.attack) for group in groups}):
        these = [i for i, group in enumerate(groups) if repeats(group.attack) == times]
        asking = [groups[i] for i in these]
        answers = averaged(once(asking, 0), (once(asking, look) for look in range(1, times)))
        found.update(zip(these, answers, strict=True))
    return [found[i] for i in range(len(groups))]


def ask_once(oracle: Oracle, groups: Sequence[Group], number: int) -> list[Full]:
    """Full answers at the look of that number; those that want as many gradients share their batches."""
    parts = [group.part(number) for group in groups]
    found: dict[int, Full] = {}
    # Together only with as many objectives, lest one attack pay for another's backward passes.
    for count in sorted({len(part.objectives) for part in parts} - {0}):
        asking = [i for i, part in enumerate(parts) if len(part.objectives) == count]
        for i, (logits, losses, gradients) in zip(asking, oracle.gradients([parts[i] for i in asking]), strict=True):
            found[i] = Gradient(**vars(judged(groups[i], logits)), losses=losses, gradients=gradients)
    for i, part in enumerate(parts):
        if part.classes is not None:
            logits, jacobian = oracle.jacobian(part)
            found[i] = Jacobian(**vars(judged(groups[i], logits)), jacobian=jacobian)
    rest = [i for i in range(len(groups)) if i not in found]
    found.update(zip(rest, look_once(oracle, [groups[i] for i in rest], number), strict=True))
    return [found[i] for i in range(len(groups))]


def look_once(oracle: Oracle, groups: Sequence[Group], number: int) -> list[Scores]:
    """The scores at the points of all groups, by one forward pass for them together."""
    if not groups:
        return []
    parts = [group.part(number) for group in groups]
    shown = torch.cat([p.seen(p.points) for p in parts])
    together = Part(shown, torch.cat([p.picture for p in parts]))
    rows = torch.split(oracle.scores(together), [len(p.points) for p in parts])
    return [judged(group, logits) for group, logits in zip(groups, rows, strict=True)]


def judged(group: Group, logits: torch.Tensor) -> Scores:
    """Scores with the predicted class and whether the lane's own goal is reached."""
    lane = group.query.lane
    goal = group.case.goal if lane is None else take(group.case.goal, lane)
    labels = logits.argmax(1)
    reached = goal.reached(logits, labels)
    return Scores(points=group.query.points, labels=labels, reached=reached, logits=logits, lane=lane)


def unchanged(oracle: Oracle, x: Tensor, goal: Goal, times: int) -> tuple[Scores, Tensor]:
    """What is said of the pictures themselves, and (N,) bool where the prediction is wrong; each of every look."""
    everything = Part(x, torch.arange(len(x), device=x.device))
    label = Goal(goal.y)

    def seen() -> list[Scores]:
        logits = check_answer(oracle.scores(everything), goal)
        labels = logits.argmax(1)
        return [Scores(points=x, labels=labels, reached=g.reached(logits), logits=logits) for g in (goal, label)]

    own, wrong = averaged(seen(), (seen() for _ in range(times - 1)))
    return own, wrong.reached


def restricted(answer: Answer, access: Access) -> Answer:
    """What an attack of this access may see of an answer."""
    if access == Access.LABELS:
        return Labels(points=answer.points, labels=answer.labels, reached=answer.reached, lane=answer.lane)
    return answer


def affordable(meter: Meter, budget: Budget, groups: Sequence[Group], look_only: bool) -> list[torch.Tensor]:
    """For each group (L,) bool: lanes whose picture can pay for this question; no picture has two lanes in them."""
    backward = (0 if look_only else group.backward_passes() for group in groups)
    asked = ((group.picture, group.points_asked(), passes) for group, passes in zip(groups, backward, strict=True))
    return [meter.affords(budget, picture, points, points * passes) for picture, points, passes in asked]
