"""Foolbox (Rauber et al. 2020), 10.21105/joss.02607."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from bench.peers.peer import Call, Options, Peer, steps_as
from bench.steps import SEARCHES


def attack(classes: Mapping[str, str]) -> Call:
    """An attack from its class in each norm, asked for the smallest change."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        theirs: Any = import_module("foolbox")
        wrapped = theirs.PyTorchModel(model, bounds=(0, 1), device=x.device)
        made = getattr(theirs.attacks, classes[norm])(**options)
        found: Tensor = made(wrapped, x, theirs.criteria.Misclassification(y), epsilons=None)[0]
        return found

    return call


plain = steps_as("steps")


def searched(norm: str, steps: int | None) -> Options:
    """Carlini & Wagner's."""
    return {"binary_search_steps": SEARCHES, "steps": steps}


def elastic_net(norm: str, steps: int | None) -> Options:
    """Keeps what is smallest in L1."""
    return {"binary_search_steps": SEARCHES, "steps": steps, "decision_rule": "L1"}


def peer(
    name: str, kind: str, classes: Mapping[str, str], options: Callable[[str, int | None], Options] = plain
) -> Peer:
    """A row."""
    return Peer(library="foolbox", attack=name, kind=kind, norms=tuple(classes), call=attack(classes), options=options)


PEERS = (
    peer("DDNAttack", "ddn", {"l2": "DDNAttack"}),
    peer(
        "FMNAttack",
        "fmn",
        {"l0": "L0FMNAttack", "l1": "L1FMNAttack", "l2": "L2FMNAttack", "linf": "LInfFMNAttack"},
    ),
    peer("CarliniWagnerAttack", "cw", {"l2": "L2CarliniWagnerAttack"}, searched),
    peer("EADAttack", "ead", {"l1": "EADAttack"}, elastic_net),
    peer("DeepFoolAttack", "deepfool", {"l2": "L2DeepFoolAttack", "linf": "LinfDeepFoolAttack"}),
)
