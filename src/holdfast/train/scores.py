"""How a model does on the validation split, after an epoch."""

import torch
from torch import nn

from holdfast.access.borrow import float_type
from holdfast.data import Pictures
from holdfast.train.course import Course
from holdfast.train.cut import rows_of
from holdfast.train.history import Count


def scores(model: nn.Module, validation: Pictures | None, course: Course) -> tuple[Count | None, Count | None]:
    """Right answers on the validation split, and of its first few those that withstand the adversary."""
    if validation is None:
        return None, None
    model.eval()
    batch, adversary = max(256, course.options.batch), course.recipe.adversary
    part = own(validation, course)
    right = 0
    with torch.no_grad():
        for rows in rows_of(part, batch):
            answer = model(part.x(rows, float_type(model))).argmax(1)
            right += int((answer == part.labels[rows]).sum())
    clean = Count(_sum(right, course, validation), len(validation))
    count = min(course.options.attacked, len(validation))
    if adversary is None or adversary.unlimited or not count:
        return clean, None
    few = own(validation.take(slice(0, count)), course)
    kept = adversary.withstood(model, few, batch=batch, seed=course.key(0, "validation"))
    return clean, Count(_sum(kept, course, validation), count)


def own(pictures: Pictures, course: Course) -> Pictures:
    """The part of the pictures that this process scores."""
    first, end = (len(pictures) * rank // course.world.size for rank in (course.world.rank, course.world.rank + 1))
    return pictures.take(slice(first, end))


def _sum(count: int, course: Course, pictures: Pictures) -> int:
    """Of all processes."""
    return int(course.world.total(torch.tensor(count, device=pictures.labels.device)))
