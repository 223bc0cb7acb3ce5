"""Which pictures a recalibration is fitted on and which it is judged by, and what a model says of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.access.borrow import Model, borrow, float_type, home
from holdfast.data import Pictures
from holdfast.data.splits import every_nth
from holdfast.errors import DataError


def halves(pictures: Pictures, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Two halves without a picture in common, evenly over the classes and hashed within; the second is no larger.

    Raises: `DataError` for fewer than two pictures.
    """
    if len(pictures) < 2:
        raise DataError(f"{pictures!r} cannot be halved; allowed: at least 2 pictures.")
    first = every_nth(pictures.labels, 2, seed)
    rest = torch.ones(len(pictures), dtype=torch.bool)
    rest[first] = False
    return pictures.take(first), pictures.take(rest)


def check_apart(fitted: Pictures, judged: Pictures) -> None:
    """Raises: `DataError` where a picture, by the hash of its pixels, is among both."""
    known = dict(zip(fitted.digests(), fitted.place.tolist(), strict=True))
    found = zip(judged.digests(), judged.place.tolist(), strict=True)
    shared = [(known[digest], place) for digest, place in found if digest in known]
    if shared:
        mine, place = shared[0]
        raise DataError(
            f"{len(shared)} of {len(judged)} pictures that are reported were fitted on as well, such as {place} of "
            f"{judged.name} {judged.split}, which is {mine} of {fitted.name} {fitted.split}; allowed: none, since "
            "numbers on pictures that were fitted on come out too good. Name two splits that share none."
        )


def answers(
    model: Model, pictures: Pictures, *, batch: int = 256, progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """Logits (N, K) float64 on the CPU, of the model in evaluation mode. Cost: one forward pass a picture."""
    found = []
    device, dtype = home(model, pictures.images), float_type(model)
    with torch.no_grad(), borrow(model) as lent:
        for rows in torch.arange(len(pictures)).split(batch):
            found.append(lent(pictures.x(rows, dtype).to(device)).double().cpu())
            if progress is not None:
                progress(int(rows[-1]) + 1, len(pictures))
    return torch.cat(found)
