"""What searches by scores alone share."""

import torch
from torch import Tensor

from holdfast.access import Scores
from holdfast.attacks.case import Case
from holdfast.lanes import take
from holdfast.losses.objectives import Objective


def heights(case: Case, answer: Scores, objective: Objective) -> Tensor:
    """(P,): the objective at each point of an answer; what is not finite is the lowest there is."""
    goal = case.goal if answer.lane is None else take(case.goal, answer.lane)
    return objective(answer.logits, goal).nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def height_there(case: Case, objective: Objective) -> Tensor:
    """(L,): the objective at the unchanged pictures, of which the scores are known."""
    assert case.logits is not None  # given to all that may see scores
    return objective(case.logits, case.goal).to(case.x)


def least_rise(height: Tensor, answer: Scores) -> Tensor:
    """The lowest height that counts as above `height`: by more than the model rounds.

    Rounding differs from batch to batch: a change that is cut back altogether would seem to help here and not there.
    """
    rounding = max(torch.finfo(kind).eps for kind in (height.dtype, answer.logits.dtype))
    return height + 32 * rounding * height.abs().nan_to_num(posinf=0.0)


def nowhere(case: Case) -> Tensor:
    """(L,): the height before anything was seen."""
    return torch.full_like(case.x.flatten(1)[:, 0], -torch.inf)
