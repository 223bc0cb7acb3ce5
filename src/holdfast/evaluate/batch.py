"""How many pictures to show the model at once, found by a short measurement."""

import logging
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from holdfast.access import borrow
from holdfast.access.borrow import Model, home
from holdfast.data import Pictures

log = logging.getLogger("holdfast")

CANDIDATES = (64, 128, 250, 500)
DEFAULT = 256  # where measuring does not pay
ROUNDS = 3  # measured passes of each candidate, after one to warm up
SHARE = 0.02  # of the whole work that the measurement may cost


def choose(
    model: Model, pictures: Pictures, passes: int, dtype: torch.dtype, clock: Callable[[], float] = perf_counter
) -> int:
    """The candidate with the least time a picture for a forward pass and an input gradient, median of a few.

    Args: `passes` how many passes of each kind a picture may need in all; the measurement is left out, for `DEFAULT`,
    where it would cost more than 2 % of that. A candidate larger than the number of pictures, or that does not fit
    into memory, is left out.
    Cost: 3,768 pictures forward and backward when measured (fewer with fewer candidates), nothing else.
    """
    fitting = [size for size in CANDIDATES if size <= len(pictures)]
    cost = sum(fitting) * (ROUNDS + 1)
    if len(fitting) < 2 or cost > SHARE * len(pictures) * passes:
        return DEFAULT
    x = pictures.x(slice(0, fitting[-1]), dtype)
    x = x.to(home(model, x))
    seconds = {size: _seconds(model, x[:size], clock) / size for size in fitting}
    best = min(seconds, key=lambda size: seconds[size])
    told = ", ".join(f"{size}: {1e6 * s:.0f} us" for size, s in seconds.items())
    log.info("batch %d is the fastest of %s a picture", best, told)
    return best


def _seconds(model: Model, x: Tensor, clock: Callable[[], float]) -> float:
    try:
        with borrow(model) as lent:
            times = [one_pass(lent, x, clock) for _ in range(ROUNDS + 1)]
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        return float("inf")
    return median(times[1:])


def one_pass(model: Model, x: Tensor, clock: Callable[[], float]) -> float:
    """Seconds that a borrowed model takes for `x` forward and back to the pictures."""
    begun = clock()
    with torch.enable_grad():
        asked = x.detach().requires_grad_()
        total = model(asked.clone()).sum()  # a copy, for a model that works in place
        if total.requires_grad:
            torch.autograd.grad(total, asked, allow_unused=True)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return clock() - begun
