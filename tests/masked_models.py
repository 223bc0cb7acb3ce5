"""Models on digits that hide their gradients, each in another way; all are as easily fooled as any plain one."""

from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluate_models import digits, fit, honest


class Quantise(nn.Module):
    """Eight grey levels, as calculus differentiates them: gradient zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


class Resize(nn.Module):
    """A picture shrunk at random and put somewhere at random."""

    def forward(self, x: Tensor) -> Tensor:
        size = int(torch.randint(7, 9, ()))
        small = functional.interpolate(x, size=(size, size), mode="nearest")
        left, top = (int(torch.randint(0, 9 - size, ())) for _ in range(2))
        return functional.pad(small, (left, 8 - size - left, top, 8 - size - top))


class Detached(nn.Module):
    """Nothing but a missing history: the gradient is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() + 0 * x


class Thermometer(nn.Module):
    """Ten channels that say whether a value exceeds each level (Buckman et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([(x > level / 10).float() for level in range(10)], 1)


class Winners(nn.Module):
    """The fifth of all units that are highest, the others 0: a network full of jumps (Xiao et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        kept = x.shape[1] // 5
        return x * (x >= x.topk(kept, 1).values[:, -1:])


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Misleading(nn.Module):
    """A backward pass of its own that points downhill."""

    def forward(self, x: Tensor) -> Tensor:
        return Turned.apply(x)


class HalfDetached(nn.Module):
    """Every second column without a history; forwards the model as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.where(torch.arange(8) % 2 == 0, x.detach(), x))


class Disturbed(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient + 3 * gradient.abs().mean() * torch.randn_like(gradient)


class NoisyBack(nn.Module):
    """Noise on the way back alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(Disturbed.apply(x))


class Monolith(nn.Module):
    """Rounding in the middle of its own code, where no part can be taken out."""

    def __init__(self) -> None:
        super().__init__()
        net = deepcopy(honest("mlp")).requires_grad_(False)  # the other is everybody's
        self.layers = nn.ModuleList(net.modules())
        self.first, self.second = [m for m in net.modules() if isinstance(m, nn.Linear)][:2]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(functional.relu(self.first((x.flatten(1) * 8).round() / 8)))


class Warm(nn.Module):
    """Trained at a temperature that is taken away in use, so that the softmax saturates (Papernot et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) / (100 if self.training else 1)


class Purifier(nn.Module):
    """Takes a gradient step of its own before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            shown = x.detach().clone().requires_grad_()
            pull = torch.autograd.grad(shown.square().mean(), shown)[0]
        return self.net(x - 0.1 * pull)


class Adapting(nn.Module):
    """Moves its statistics towards whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()
        self.register_buffer("mean", torch.zeros(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 0.2 * (x.detach().mean(0, keepdim=True) - self.mean)
        return self.net(x - 0.5 * self.mean)


class Counting(nn.Module):
    """Counts its calls, and answers as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


def trained(model: nn.Module, steps: int = 0) -> nn.Module:
    pictures = digits("train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        fit(model, pictures.x(), pictures.labels, hardened=False)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(steps):
            optimiser.zero_grad()
            functional.cross_entropy(model.train()(pictures.x()), pictures.labels).backward()
            optimiser.step()
        optimiser.zero_grad()
    return model.eval()


def with_winners() -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(64, 200), Winners(), nn.Linear(200, 200), Winners(), nn.Linear(200, 10)]
    return trained(nn.Sequential(*layers))


def with_thermometer() -> nn.Module:
    return trained(nn.Sequential(Thermometer(), nn.Flatten(), nn.Linear(640, 64), nn.ReLU(), nn.Linear(64, 10)))


MASKED = {
    "quantised": lambda: nn.Sequential(Quantise(), honest()),
    "quantised, hardened inside": lambda: nn.Sequential(Quantise(), honest("hardened cnn")),
    "rounding in its own code": Monolith,
    "random resize": lambda: nn.Sequential(Resize(), honest()),
    "detached": lambda: nn.Sequential(Detached(), honest()),
    "thermometer": with_thermometer,
    "winners take all": with_winners,
    "distilled": lambda: trained(Warm(), steps=300),
    "misleading": lambda: nn.Sequential(Misleading(), honest()),
    "half detached": HalfDetached,
    "noise on the way back": NoisyBack,
    "purifier": Purifier,
    "adapting": Adapting,
}


@cache
def masked(name: str) -> nn.Module:
    return MASKED[name]().eval()
