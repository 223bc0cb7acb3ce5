"""Where searches by labels alone begin: at another picture that is taken for another class already."""

import torch
from torch import Tensor

from holdfast.losses import Goal

ROWS = 256  # pictures compared with all others at once


def nearest_elsewhere(x: Tensor, prediction: Tensor, goal: Goal) -> Tensor:
    """For each picture (N, C, H, W) the nearest other one, by Euclidean distance, whose prediction reaches its goal.

    `prediction` (N,) of the unchanged pictures, -1 where the model refuses to answer, which reaches nothing. Where none
    reaches it, the picture itself. Asks the model nothing.
    """
    flat, pieces = x.flatten(1), []
    for rows in torch.arange(len(x), device=x.device).split(ROWS):
        if goal.target is None:
            reaches = (prediction[None] != goal.y[rows, None]) & (prediction[None] >= 0)
        else:
            reaches = prediction[None] == goal.target[rows, None]
        away = torch.cdist(flat[rows], flat).masked_fill(~reaches, torch.inf)
        distance, place = away.min(1)
        pieces.append(torch.where(distance.isfinite(), place, rows))
    return x[torch.cat(pieces)]
