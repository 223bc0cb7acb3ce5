"""Do pictures made on a twin of the model break it where the direct attack does not?"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.access.borrow import Model
from holdfast.attacks import PGD, Attack
from holdfast.errors import HoldfastError
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample

ADVICE = (
    "The model hides its gradients, and its twin shows them: declare the step in between (holdfast.models.Defended), "
    "so that the attack goes through it."
)
MORE = "A twin without noise shows the way better than so few samples do: average over more of them (--eot)."


@dataclass(frozen=True)
class Transfer:
    """What breaks a twin of the model without its defence breaks the model no more often than the attack on itself.

    Twins are: a model that the user names; classifiers inside the model, behind whatever it does to pictures first and
    to logits last; a copy in which layers without weights that keep the shape of their input, and that torch does not
    know, let gradients pass straight through. Each is attacked as the model was, for the highest loss, and the pictures
    are shown to the model. Of up to `pictures` that the attack left standing, more than `much` of the pictures
    that were right, and `few` at least, fails, more than `some` warns; where the attack averages, either warns.
    Cost: the attack on each of at most `twins` twins, and a forward pass.
    Source: Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019, arXiv:1902.06705.
    """

    pictures: int = 64
    twins: int = 3
    much: float = 0.05
    some: float = 0.02
    few: int = 3
    name: ClassVar[str] = "transfer"
    title: ClassVar[str] = "Attacking a twin without defence gets no further than attacking the model"

    def look(self, sample: Sample) -> Finding:
        """From every twin that can be had."""
        if not sample.uses_gradients:
            return found(self, "skipped", "the attack uses no gradient")
        standing, right = sample.standing(self.pictures), int(sample.right.sum())
        n = int(standing.sum())
        if not n:
            return found(self, "pass", "the attack left no picture of the sample standing")
        tried = [(name, self._hits(sample, twin, standing)) for name, twin in twins(sample, self.twins)]
        hits = {name: hit for name, hit in tried if hit is not None}
        if not hits:
            return found(self, "skipped", "the model has no part that is a classifier of its own; name one to replay")
        best = max(hits, key=lambda name: hits[name])
        told = f"of {n} pictures that the attack left standing, those made on {best} break {hits[best]}"
        if hits[best] < self.few or hits[best] <= self.some * right:
            return found(self, "pass", told)
        if sample.repeats > 1:
            return found(self, "warn", told, MORE)
        return found(self, "fail" if hits[best] > self.much * right else "warn", told, ADVICE)

    def _hits(self, sample: Sample, twin: Model, standing: Tensor) -> int | None:
        """How many of these pictures the model gets wrong once they were attacked on the twin; None if it has none."""
        own = isinstance(sample.attacks[0], Attack)
        try:
            made = sample.search(
                sample.attacks if own else [PGD()], twin, sample.threat, standing, aim="highest_loss"
            ).x_adv
        except (HoldfastError, RuntimeError):  # a part that cannot take the pictures as they are
            return None
        return int((sample.expected(made).argmax(1) != sample.y[standing]).sum())


def twins(sample: Sample, most: int) -> Iterator[tuple[str, Model]]:
    """Name and twin, at most so many, the likeliest to matter first."""
    listed = [*sample.sources, *straightened(sample.model), *inner(sample)]
    yield from listed[:most]


def straightened(model: Model) -> Iterator[tuple[str, Model]]:
    """A copy in which unknown layers without weights pass gradients on as they are, if there are such layers."""
    if not isinstance(model, nn.Module):
        return
    unknown = [
        name
        for name, part in model.named_modules()
        if name and not list(part.children()) and not list(part.parameters()) and not _of_torch(part)
    ]
    if not unknown:
        return
    try:
        copied = copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())})
    except Exception:  # a lock, a handle: whatever a user's module holds
        return
    for name in unknown:
        parent, _, key = name.rpartition(".")
        setattr(copied.get_submodule(parent), key, Straight(copied.get_submodule(name)))
    yield "a copy with straight-through layers", copied


class Straight(nn.Module):
    """A layer whose gradient passes as it is where its answer has the shape of its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *given: Any, **named: Any) -> Any:
        """The layer's own answer."""
        with torch.no_grad():
            answer = self.layer(*given, **named)
        first = given[0] if given else None
        if isinstance(first, Tensor) and isinstance(answer, Tensor) and answer.shape == first.shape:
            return first + (answer - first).detach()
        return self.layer(*given, **named)


def inner(sample: Sample) -> Iterator[tuple[str, Model]]:
    """Parts of the model that classify such pictures themselves; behind a mere change of scale there is no defence."""
    if not isinstance(sample.model, nn.Module):
        return
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, _: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(answer, Tensor) and name not in seen:
            seen[name] = (given[0].detach(), answer.detach())

    handles = [part.register_forward_hook(partial(note, name)) for name, part in sample.model.named_modules() if name]
    try:
        logits = sample.ask(sample.x)
    finally:
        for handle in handles:
            handle.remove()
    for name, (given, answer) in seen.items():
        part = sample.model.get_submodule(name)
        alike = given.ndim == sample.x.ndim and given.shape[:2] == sample.x.shape[:2] and answer.shape == logits.shape
        if not alike or not list(part.parameters()) or (torch.equal(answer, logits) and rescaled(sample.x, given)):
            continue
        if classifies(sample, part):
            yield f"its part {name}", part


def rescaled(x: Tensor, given: Tensor) -> bool:
    """Whether `given` is `x` channel by channel times a number plus another."""
    if x.shape != given.shape:
        return False
    flat, other = (tensor.transpose(0, 1).flatten(1).double() for tensor in (x, given))
    centred, moved = flat - flat.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    slope = (centred * moved).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp_min(1e-12)
    return bool((moved - slope * centred).abs().max() <= 1e-4 * other.abs().max().clamp_min(1e-12))


def classifies(sample: Sample, part: nn.Module) -> bool:
    """Whether a part gets at least half as many raw pictures right as the model."""
    try:
        with borrow(part) as lent, torch.no_grad():
            answer = lent(sample.x.clone())
    except RuntimeError:
        return False
    sample.forward += len(sample.x)
    return int((answer.argmax(1) == sample.y).sum()) * 2 >= int(sample.right.sum())


def _of_torch(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.nn.")
