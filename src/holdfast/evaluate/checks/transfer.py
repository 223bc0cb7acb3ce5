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
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.models.stand_in import exchange

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
        tried = [(name, self._hits(sample, twin, standing, name)) for name, twin in twins(sample, self.twins)]
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

    def _hits(self, sample: Sample, twin: Model, standing: Tensor, name: str) -> int | None:
        """How many of these pictures the model gets wrong once they were attacked on the twin; None if it has none."""
        own = isinstance(sample.attacks[0], Attack)
        try:
            made = sample.search(sample.attacks if own else [PGD()], twin, sample.threat, standing, aim="highest_loss")
        except Exception:  # a part that cannot take the pictures as they are; whoever named a model wants to know
            if name in dict(sample.sources):
                raise
            return None
        return int((sample.expected(made.x_adv).argmax(1) != sample.y[standing]).sum())


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
        exchange(copied, name, Straight(copied.get_submodule(name)))
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
        if not alike or not list(part.parameters()):
            continue
        if torch.equal(answer, logits) and (scale := rescaled(sample.x, given)) is not None:
            if same_gradient(sample, part, given, scale[0]):
                continue  # the model itself, with its pictures on another scale
            yield f"its part {name}", Rescaled(part, *scale)
        elif classifies(sample, part):
            yield f"its part {name}", part


class Rescaled(nn.Module):
    """A part of the model behind the change of scale that the model makes, and nothing else that it does."""

    def __init__(self, part: nn.Module, slope: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.part, self.slope, self.offset = part, slope, offset

    def forward(self, x: Tensor) -> Tensor:
        """What the part says of pictures as the model is given them."""
        logits: Tensor = self.part(self.slope * x + self.offset)
        return logits


def same_gradient(sample: Sample, part: nn.Module, given: Tensor, slope: Tensor, few: int = 8) -> bool:
    """Whether the model's gradient is the part's but for the change of scale, at a few pictures."""
    gradients = []
    for model, x in ((sample.model, sample.x[:few]), (part, given[:few])):
        with borrow(model) as lent, torch.enable_grad():
            asked = x.detach().requires_grad_()
            total = lent(asked.clone()).logsumexp(1).sum()
            (gradient,) = torch.autograd.grad(total, asked, allow_unused=True) if total.requires_grad else (None,)
        gradients.append(torch.zeros_like(x) if gradient is None else gradient)
        sample.forward, sample.backward = sample.forward + len(x), sample.backward + len(x)
    whole, scaled = gradients[0], slope * gradients[1]
    return bool((whole - scaled).norm() <= 1e-2 * scaled.norm().clamp_min(torch.finfo(scaled.dtype).tiny))


def rescaled(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor] | None:
    """Slope and offset, each (1, C, 1, 1), if `given` is `x` channel by channel times a number plus another."""
    if x.shape != given.shape:
        return None
    flat, other = (tensor.transpose(0, 1).flatten(1).double() for tensor in (x, given))
    centred, moved = flat - flat.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    slope = (centred * moved).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp_min(1e-12)
    if bool((moved - slope * centred).abs().max() > 1e-4 * other.abs().max().clamp_min(1e-12)):
        return None
    offset = other.mean(1, keepdim=True) - slope * flat.mean(1, keepdim=True)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return slope.view(shape).to(x), offset.view(shape).to(x)


def classifies(sample: Sample, part: nn.Module) -> bool:
    """Whether a part gets at least half as many raw pictures right as the model."""
    try:
        with borrow(part) as lent, torch.no_grad():
            answer = lent(sample.x.clone())
    except Exception:  # such as from a part that insists on another size
        return False
    sample.forward += len(sample.x)
    return int((answer.argmax(1) == sample.y).sum()) * 2 >= int(sample.right.sum())


def _of_torch(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.nn.")
