"""Monte Carlo dropout with fixed masks: a committee of thinned copies of one network."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError, OptionError
from holdfast.models.ensemble import log_of_mean
from holdfast.models.members import check_members
from holdfast.options import option

AnyDropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d


class MonteCarloDropout(nn.Module):
    """The mean of the probabilities of `passes` thinned copies of one network, each with a dropout mask of its own.

    A mask belongs to a pass and a layer and is the same for every picture, keyed by `seed`. So the answer is a function
    of the picture alone: it repeats, it does not depend on how pictures are put into batches, and an attacker can
    differentiate through all the passes. Over seeds, a picture's answer is distributed as with masks drawn for it
    alone. What is lost: the errors of two pictures are made by the same masks and are not independent.

    Args: `model` pictures (N, C, H, W) to logits (N, K), with dropout layers, which is copied; `passes` T >= 2.
    Raises: `ModelError` for a model without dropout; `OptionError` for fewer passes.
    Cost: T times the model's, forward and backward; T masks a layer are kept.
    Source: Gal & Ghahramani 2016, arXiv:1506.02142; one set of masks for all pictures as in the consistent dropout of
    Kirsch, van Amersfoort & Gal 2019, arXiv:1906.08158.
    """

    def __init__(self, model: nn.Module, passes: int = 20, seed: int = 0) -> None:
        super().__init__()
        check_passes(passes)
        self.model = copy.deepcopy(model)
        self.passes = passes
        parts = self.model.named_modules()
        named = [(name, part) for name, part in parts if isinstance(part, AnyDropout) and part.p > 0]
        if not named:
            raise ModelError(
                f"Monte Carlo dropout: {type(model).__name__} has no dropout; allowed: a model with dropout layers. "
                "Train one, such as `holdfast train --model cnn --model-set dropout=0.3`."
            )
        for layer, (name, part) in enumerate(named):
            parent, _, own = name.rpartition(".")
            setattr(self.model.get_submodule(parent), own, FixedDropout(part, seed, layer))

    @property
    def cost(self) -> int:
        """Forward passes for each picture."""
        return self.passes

    def members(self, x: Tensor) -> Tensor:
        """The logits of each pass, (T, N, K)."""
        return torch.stack([self._thinned(x, number) for number in range(self.passes)])

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to log-probabilities (N, K)."""
        return self.joined(self.members(x))

    def joined(self, members: Tensor) -> Tensor:
        """The members' logits (M, N, K) to log-probabilities (N, K)."""
        return log_of_mean(members)

    def _thinned(self, x: Tensor, number: int) -> Tensor:
        for part in self.model.modules():
            if isinstance(part, FixedDropout):
                part.number = number
        logits: Tensor = self.model(x)
        return logits


class FixedDropout(nn.Module):
    """Dropout whose mask depends on the number of the pass, not on the picture, in any mode of the module."""

    def __init__(self, dropout: AnyDropout, seed: int, layer: int) -> None:
        super().__init__()
        self.p = float(dropout.p)
        self.channels = not isinstance(dropout, nn.Dropout)  # whole channels are dropped
        self.seed, self.layer, self.number = seed, layer, 0
        self._masks: dict[tuple[Any, ...], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to the same shape: kept values are divided by the share that is kept."""
        key = (self.number, tuple(x.shape[1:]), x.dtype, x.device)
        if key not in self._masks:
            with torch.inference_mode(False):  # a mask made where no gradients are taken serves where they are
                self._masks[key] = self._mask(x.shape, x.dtype, x.device)
        return x * self._masks[key]

    def _mask(self, size: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        """(1, ...): 0 with probability p, else 1 / (1 - p)."""
        shape = (1, size[1], *(1,) * (len(size) - 2)) if self.channels else (1, *size[1:])
        digest = hashlib.sha256(f"{self.seed}/{self.layer}/{self.number}".encode()).digest()
        drawn = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        kept = torch.rand(shape, generator=drawn, dtype=torch.float64, device="cpu") >= self.p
        return (kept.double() / (1 - self.p)).to(dtype).to(device)


def check_passes(passes: int) -> None:
    """Raises: `OptionError` unless there are two passes or more."""
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 2:
        raise OptionError(f"Monte Carlo dropout: passes={passes!r}; allowed: whole numbers >= 2, such as passes=20.")


@dataclass(frozen=True, kw_only=True)
class MonteCarloDropoutOf:
    """One trained model with dropout, asked several times with different dropout masks."""

    members: tuple[Any, ...] = option((), "what the model is: architecture, options, mean, std")
    passes: int = option(20, "thinned copies whose probabilities are averaged")
    seed: int = option(0, "of the masks")
    made: str = option("joined", "how it came about")
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        check_members("mc-dropout", self.members, least=1, most=1)
        check_passes(self.passes)

    def join(self, networks: Sequence[nn.Module], classes: int) -> nn.Module:
        """One model of the member's network."""
        return MonteCarloDropout(networks[0], self.passes, self.seed)
