"""The Adversarial Robustness Toolbox (Nicolae et al. 2018), arXiv:1807.01069."""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

from bench.peers.peer import Call, Options, Peer, steps_as
from bench.steps import SEARCHES


def attack(name: str) -> Call:
    """An attack from its class, all pictures in a batch, where the default is one."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        return generated(name, model, x, y, {"batch_size": len(x), **options})

    return call


def generated(
    name: str, model: nn.Module, x: Tensor, y: Tensor, options: Options, probabilities: bool = False
) -> Tensor:
    """What an attack of that class makes, given such options, of the model's logits or of its `probabilities`."""
    estimator = import_module("art.estimators.classification").PyTorchClassifier(
        model=nn.Sequential(model, nn.Softmax(1)) if probabilities else model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=model.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    made = getattr(import_module("art.attacks.evasion"), name)(estimator, verbose=False, **options)
    return torch.from_numpy(made.generate(x=x.numpy(), y=y.numpy())).to(x)


def searched(norm: str, steps: int | None) -> Options:
    """Carlini & Wagner's."""
    return {"binary_search_steps": SEARCHES, "max_iter": steps}


def elastic_net(norm: str, steps: int | None) -> Options:
    """Keeps what is smallest in L1."""
    return {**searched(norm, steps), "decision_rule": "L1"}


def peer(name: str, kind: str, norm: str, options: Callable[[str, int | None], Options]) -> Peer:
    """A row."""
    return Peer(library="art", attack=name, kind=kind, norms=(norm,), call=attack(name), options=options)


PEERS = (
    peer("CarliniL2Method", "cw", "l2", searched),
    peer("CarliniLInfMethod", "cw-linf", "linf", steps_as("max_iter")),
    peer("CarliniL0Method", "cw-l0", "l0", searched),
    peer("ElasticNet", "ead", "l1", elastic_net),
    peer("DeepFool", "deepfool", "l2", steps_as("max_iter")),
)
