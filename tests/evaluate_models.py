"""Honest models trained on digits in a second or two, and models and attacks with one thing wrong each."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from holdfast import data, models
from holdfast.access import Access, Query
from holdfast.attacks import PGD, run
from holdfast.losses import OBJECTIVES
from holdfast.threats import Linf

HONEST = ("linear", "mlp", "cnn", "hardened mlp", "hardened cnn")


@cache
def digits(split="test"):
    """Real scans, 8x8."""
    return data.load("digits", split)


@cache
def honest(name="mlp"):
    """A trained digits model; hardened: by adversarial training at Linf 0.1."""
    kind = name.split()[-1]
    options = {"mlp": {"hidden": (32,)}, "cnn": {"width": 0.5}, "resnet": {}}.get(kind, {})
    pictures = digits("train")
    with torch.random.fork_rng(), torch.enable_grad():  # perhaps asked for in the middle of an attack
        torch.manual_seed(0)
        model = models.build("resnet8" if kind == "resnet" else kind, options, shape=pictures.shape, classes=10, seed=0)
        fit(model, pictures.x(), pictures.labels, hardened=name.startswith("hardened"))
    return model.eval()


def fit(model, x, y, *, hardened):
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    inner = PGD(steps=3, step_size=0.5)
    for epoch in range(8 if hardened else 15):
        for rows in torch.randperm(len(x)).split(128):
            shown = x[rows]
            if hardened:
                threat = Linf(eps=0.1)
                shown = run(inner, model, shown, y[rows], threat, seed=epoch, picture=rows, aim="highest_loss").x_adv
            model.train()
            optimiser.zero_grad()
            functional.cross_entropy(model(shown), y[rows]).backward()
            optimiser.step()
    optimiser.zero_grad()


class Around(nn.Module):
    """`function(honest model, x)` as a model."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.inner = honest() if inner is None else inner
        self.function = function

    def forward(self, x):
        return self.function(self.inner, x)


class Rounded(torch.autograd.Function):
    """Rounds to 16 levels; the gradient is zero, as calculus has it."""

    @staticmethod
    def forward(context, x):
        return (x * 16).round() / 16

    @staticmethod
    def backward(context, gradient):
        return torch.zeros_like(gradient)


def neighbours(inner, x):
    """Batch norm without running statistics: a picture's answer depends on its batch."""
    logits = inner(x)
    return logits - 0.5 * logits.mean(0)


BROKEN = {
    "softmax": lambda inner, x: inner(x).softmax(1),
    "wants 0 to 255": lambda inner, x: inner(x / 255),
    "wants them normalised": lambda inner, x: inner(0.376 * x + 0.305),  # the mean and deviation of the digits
    "quantised": lambda inner, x: inner(Rounded.apply(x)),
    "huge logits": lambda inner, x: inner(x) * 1000,
    "dropout at test time": lambda inner, x: inner(functional.dropout(x, 0.1, training=True)),
    "noisy logits": lambda inner, x: inner(x) + torch.randn(len(x), 10),
    "sees its neighbours": neighbours,
    "shattered": lambda inner, x: inner(x + 0.02 * (1000 * x).sin()),
    "constant": lambda inner, x: 0 * inner(x) + torch.arange(10) ** 2,
    "NaN gradient": lambda inner, x: inner(x) + 0 * (x - x.detach()).abs().sqrt().flatten(1).sum(1, keepdim=True),
}


def broken(name):
    """An honest model with one thing wrong."""
    return Around(BROKEN[name]).eval()


@dataclass(frozen=True, kw_only=True)
class Flipped(PGD):
    """Descends where it should ascend."""

    name: ClassVar[str] = "flipped"

    def step(self, case, state, answer):
        x_adv = case.ascend(answer.points, case.threat.steepest(-answer.gradient), self.step_size)
        return state, Query(x_adv, gradient_of=OBJECTIVES[self.loss])


class FlippedFar(Flipped):
    """Descends in wide threats, and ascends in narrow ones."""

    name: ClassVar[str] = "flipped-far"

    def step(self, case, state, answer):
        return super().step(case, state, answer) if case.threat.eps > 0.5 else PGD.step(self, case, state, answer)


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Asks for gradients and stays where it is."""

    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "nothing"
    rounds: ClassVar[int] = 3

    def start(self, case):
        return None, Query(case.x, gradient_of=OBJECTIVES["cross_entropy"])

    def step(self, case, state, answer):
        return None, Query(case.x, gradient_of=OBJECTIVES["cross_entropy"])


@dataclass(frozen=True, kw_only=True)
class Fading(PGD):
    """Gets weaker with its steps and with the radius: a step is divided by both."""

    name: ClassVar[str] = "fading"

    def step(self, case, state, answer):
        share = self.step_size / self.steps**2 / (10 * float(case.threat.eps)) ** 3
        x_adv = case.ascend(answer.points, case.threat.steepest(answer.gradient), share)
        return state, Query(x_adv, gradient_of=OBJECTIVES[self.loss])
