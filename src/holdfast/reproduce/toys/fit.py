"""Training for problems of a few hundred points: all of them in every step, adversarial ones if a threat is given."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import Attack, run
from holdfast.threats import Linf


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    rate: float,
    threat: Linf | None = None,
    attack: Attack | None = None,
    seed: int = 0,
) -> nn.Module:
    """Minimise the mean cross-entropy of `model` on `x` (N, 1, 1, D) and `y` (N,) by Adam, in place; returns it.

    With `threat` and `attack` each step is taken at the points of highest loss that the attack finds for the model of
    that moment. Cost: a step is one forward and backward pass a point, and the attack's.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for step in range(steps):
        seen = x
        if threat is not None and attack is not None:
            found = run(attack, model, x, y, threat, seed=seed * steps + step, batch=len(x), aim="highest_loss")
            seen = found.x_adv
        optimiser.zero_grad()
        loss = cross_entropy(model(seen), y)
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()
