"""Does the model learn or optimise while it answers?"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.access.borrow import Model, same
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample

CALLS = (torch.autograd.grad.__code__, torch.autograd.backward.__code__)
OPTIMISES = (
    "An attack must know that inner search: unroll it with gradients of its own, or attack what it is put in front of "
    "and replay the pictures (--transfer-from)."
)
LEARNS = "Freeze what changes (running statistics, counters) while answering; otherwise no figure can be repeated."


@dataclass(frozen=True)
class Dynamic:
    """Answering takes no gradients and changes nothing inside the model.

    A model that optimises when asked (purification, test-time training) answers an attacker's gradient only if it was
    differentiated through its own search, which hardly any is; one whose answers change with what it was shown is
    another model at every question. Either fails; parameters or buffers that change and no answer with them warn.
    Gradients are seen by a profiler that knows torch's own entry points, wherever they are called from.
    Cost: two forward passes of `pictures` pictures.
    Source: the flag of AutoAttack (Croce & Hein 2020, arXiv:2003.01690) for dynamic defences.
    """

    pictures: int = 4
    name: ClassVar[str] = "dynamic"
    title: ClassVar[str] = "The model neither optimises nor learns while it answers"

    def look(self, sample: Sample) -> Finding:
        """From a profile of one call, the state before and after it, and a second call."""
        before, few = state(sample.model), sample.x[: self.pictures]
        with gradients_taken() as calls:
            first = sample.ask(few)
        if calls:
            return found(self, "fail", f"one call of the model took gradients {len(calls)} times", OPTIMISES)
        changed = [name for name, tensor in state(sample.model).items() if not same(tensor, before[name])]
        if changed:
            other = not torch.equal(first, sample.ask(few))
            told = f"one call of the model changed {len(changed)} of its tensors ({changed[0]}), and "
            told += "its answers with them" if other else "its answers stayed the same"
            return found(self, "fail" if other else "warn", told, LEARNS)
        return found(self, "pass", "one call took no gradient and changed no parameter or buffer")


def state(model: Model) -> dict[str, Tensor]:
    """Parameters and buffers, copied."""
    if not isinstance(model, nn.Module):
        return {}
    return {name: tensor.detach().clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


@contextmanager
def gradients_taken() -> Iterator[list[str]]:
    """Notes every call of torch's autograd from Python, until the end; a profiler that was there goes on afterwards."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in CALLS:
            calls.append(frame.f_code.co_name)

    earlier = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(earlier)
