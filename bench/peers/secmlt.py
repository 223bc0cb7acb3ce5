"""SecML-Torch (pralab), its own attacks; those it passes on to Foolbox and adv-lib are measured there."""

from importlib import import_module
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.peers.peer import Call, Options, Peer
from holdfast.threats import NORMS


def attack(module: str, name: str) -> Call:
    """An attack from its class, on one batch."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        made: Any = getattr(import_module(f"secmlt.adv.evasion.{module}"), name)(**options)
        wrapped = import_module("secmlt.models.pytorch.base_pytorch_nn").BasePyTorchClassifier(model)
        answer = made(wrapped, DataLoader(TensorDataset(x, y), batch_size=len(x)))
        found: Tensor = next(iter(answer))[0]
        return found

    return call


def ddn(norm: str, steps: int | None) -> Options:
    """The step size has no default but that of the radius."""
    return {"num_steps": steps, "backend": "native"}


def fmn(norm: str, steps: int | None) -> Options:
    """The largest step has no default: 1, as in the paper."""
    return {"perturbation_model": norm, "num_steps": steps, "step_size": 1.0, "backend": "native"}


PEERS = (
    Peer(library="secmlt", attack="DDN", kind="ddn", norms=("l2",), call=attack("ddn", "DDN"), options=ddn),
    Peer(library="secmlt", attack="FMN", kind="fmn", norms=tuple(NORMS), call=attack("fmn", "FMN"), options=fmn),
)
