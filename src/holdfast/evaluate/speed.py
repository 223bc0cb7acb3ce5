"""Whether a stand-in for the model pays, and which one: found by a short measurement, then checked for agreement."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.access.borrow import Model, float_type, home
from holdfast.data import Pictures
from holdfast.evaluate.batch import one_pass
from holdfast.models.convolution import Convolution, Form
from holdfast.models.stand_in import Plan, StandIn, convolutions, stand_in

log = logging.getLogger("holdfast")

Use = Literal["auto", "on", "off"]
Key = TypeVar("Key")
PICTURES = 64  # shown in every measured pass
ROUNDS = 5  # measured passes of each candidate, after one to warm up; the fastest counts, others were disturbed
COST = 64 * PICTURES  # of the whole measurement at most, in pictures forward and backward
SHARE = 0.05  # of the whole work that the measurement may cost
GAIN = 0.95  # of the model's own time that a stand-in must not exceed
LOGITS = 1e-4  # largest difference of a logit, as a share of the largest logit: some hundred float32 roundings
GRADIENT = 1e-3  # median over pictures of the relative difference of the input gradient


@dataclass(frozen=True)
class Chosen:
    """A stand-in that pays and agrees."""

    plan: Plan
    folded: int  # batch norms that became part of a convolution
    time: float  # of one pass forward and back, as a share of the model's own
    logits: float  # largest difference on the first pictures, as a share of the largest logit
    gradient: float  # median over pictures of the relative difference of the input gradient

    def to_plain(self) -> dict[str, Any]:
        """For run.json."""
        told = {name: float(f"{getattr(self, name):.2g}") for name in ("time", "logits", "gradient")}
        return {**self.plan.to_plain(), "folded": self.folded, **told}


def choose(
    model: Model,
    pictures: Pictures,
    passes: int,
    dtype: torch.dtype,
    use: Use,
    clock: Callable[[], float] = perf_counter,
) -> Chosen | None:
    """The fastest plan for a stand-in, or None where none pays, none agrees, or measuring would not pay.

    Args: `passes` how many passes of each kind a picture may need in all; `use` "on" measures however little there is
    to do and takes the fastest that agrees, "off" returns None at once.
    Cost: at most 4,096 pictures forward and backward, nothing else.
    """
    small = len(pictures) * passes * SHARE < COST
    if use == "off" or (use == "auto" and small) or not isinstance(model, nn.Module):
        return None
    if dtype not in EXACT or float_type(model) not in EXACT:
        return None
    x = pictures.x(slice(0, PICTURES), dtype)
    x = x.to(home(model, x))
    try:
        found = fastest(model, x, clock)
        if found is None or (use == "auto" and found[1] > GAIN):
            return None
        plan, time = found
        other = stand_in(model, plan)
        logits, gradient = differences(model, other, x)
    except Exception as error:  # whatever a user's own code raises at layers that it does not know
        log.info("no stand-in for the model: %s", " ".join(str(error).split())[:200])
        return None
    if not (logits <= LOGITS and gradient <= GRADIENT):
        log.info("no stand-in for the model: its answers differ by %.2g, its gradients by %.2g", logits, gradient)
        return None
    log.info("a stand-in takes %.2f of the model's time; its logits differ by %.1g of the largest", time, logits)
    return Chosen(plan, other.folded, time, logits, gradient)


EXACT = (torch.float32, torch.float64)  # below these another order of adding up is another function


def build(model: Model, chosen: Mapping[str, Any] | None) -> Model | None:
    """The stand-in that run.json names, or None."""
    if chosen is None or not isinstance(model, nn.Module):
        return None
    return stand_in(model, Plan.from_plain(chosen))


def fastest(model: nn.Module, x: Tensor, clock: Callable[[], float] = perf_counter) -> tuple[Plan, float] | None:
    """The plan of least time and that time as a share of the model's own; None without a convolution to exchange."""
    if not convolutions(model):
        return None
    models: dict[Plan | None, Model] = {None: model}
    for channels_last in (False, True):
        try:
            plan = fastest_forms(model, x, channels_last, clock)
            models[plan] = stand_in(model, plan)
            _pass(models[plan], x, clock)
        except Exception as error:  # such as from a model that cannot take another layout
            log.info("no stand-in with channels_last=%s: %s", channels_last, " ".join(str(error).split())[:200])
    seconds = least({plan: partial(_pass, candidate, x, clock) for plan, candidate in models.items()})
    best = min(seconds, key=lambda plan: (plan is None, seconds[plan]))
    return None if best is None else (best, seconds[best] / max(seconds[None], 1e-9))


def fastest_forms(model: nn.Module, x: Tensor, channels_last: bool, clock: Callable[[], float]) -> Plan:
    """For each convolution by itself the form whose input gradient takes the least time."""
    forms: dict[str, Form] = {}
    for name, layer, given in inputs(stand_in(model, Plan(channels_last=channels_last)), x):
        timed = {form: partial(_gradient_time, layer.with_form(form), given, clock) for form in layer.forms}
        seconds = least(timed)
        forms[name] = min(seconds, key=lambda form: seconds[form])
    return Plan(channels_last=channels_last, forms=tuple(forms.items()))


def least(timed: Mapping[Key, Callable[[], float]]) -> dict[Key, float]:
    """The least of a few times each, taken in turn, so that what else the machine does disturbs all alike."""
    rounds = [{key: time() for key, time in timed.items()} for _ in range(ROUNDS + 1)]
    return {key: min(times[key] for times in rounds[1:]) for key in timed}


def inputs(model: StandIn, x: Tensor) -> list[tuple[str, Convolution, Tensor]]:
    """Name in the user's model, layer and input of each convolution, in the order in which they are called."""
    seen: dict[str, tuple[str, Convolution, Tensor]] = {}

    def note(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, Convolution)
        seen.setdefault(name, (name, layer, given[0]))

    for name, layer in model.model.named_modules():
        if isinstance(layer, Convolution):
            layer.register_forward_pre_hook(partial(note, name))
    with torch.no_grad():
        model(x)
    return list(seen.values())


def differences(model: Model, other: Model, x: Tensor) -> tuple[float, float]:
    """How far two models are apart on `x`: the largest difference of a logit over the largest logit, and the median
    over pictures of the relative difference of the gradient of log-sum-exp. Cost: a pass each, there and back."""
    (logits, gradient), (others, another) = (_answer(each, x) for each in (model, other))
    apart = (others - logits).abs().max() / logits.abs().max().clamp_min(1e-30)
    turned = (another - gradient).flatten(1).norm(dim=1) / gradient.flatten(1).norm(dim=1).clamp_min(1e-30)
    return float(apart), float(turned.median())


def _answer(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    with borrow(model) as lent, torch.enable_grad():
        asked = x.detach().requires_grad_()
        logits = lent(asked.clone())
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), asked)
    return logits.detach(), gradient


def _pass(model: Model, x: Tensor, clock: Callable[[], float]) -> float:
    with borrow(model) as lent:
        return one_pass(lent, x, clock)


def _gradient_time(layer: Convolution, given: Tensor, clock: Callable[[], float]) -> float:
    """Of the input gradient alone; the forward pass is the same in every form."""
    with torch.enable_grad():
        asked = given.detach().requires_grad_()
        answer = layer(asked)
    gradient = torch.ones_like(answer)
    _settle(given)
    begun = clock()
    torch.autograd.grad(answer, asked, gradient)
    _settle(given)
    return clock() - begun


def _settle(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
