"""torchattacks (Kim 2020), arXiv:2010.01950."""

from importlib import import_module

from torch import Tensor, nn

from bench.peers.peer import OF_AUTOATTACK, Call, Options, Peer, steps_as
from bench.steps import SEARCHES


def attack(name: str, normed: bool = False) -> Call:
    """An attack from its class."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        named = {"norm": OF_AUTOATTACK[norm]} if normed else {}
        found: Tensor = getattr(import_module("torchattacks"), name)(model, **named, **options)(x, y)
        return found

    return call


def one_weight(norm: str, steps: int | None) -> Options:
    """It tries one weight only, so that gets the steps of all."""
    return {} if steps is None else {"steps": SEARCHES * steps}


def elastic_net(norm: str, steps: int | None) -> Options:
    """As many weights as the others try."""
    return {"binary_search_steps": SEARCHES, "max_iterations": steps}


def every_target(norm: str, steps: int | None) -> Options:
    """A radius of next to nothing, within which no target is reached, or it would stop at the first that is."""
    return {"steps": steps, "multi_targeted": True, "eps": 1e-6}


PEERS = (
    Peer(library="torchattacks", attack="CW", kind="cw", norms=("l2",), call=attack("CW"), options=one_weight),
    Peer(
        library="torchattacks",
        attack="DeepFool",
        kind="deepfool",
        norms=("l2",),
        call=attack("DeepFool"),
        options=steps_as("steps"),
    ),
    Peer(library="torchattacks", attack="EADL1", kind="ead", norms=("l1",), call=attack("EADL1"), options=elastic_net),
    Peer(
        library="torchattacks",
        attack="FAB",
        kind="fab",
        norms=tuple(OF_AUTOATTACK),
        call=attack("FAB", normed=True),
        options=steps_as("steps"),
    ),
    Peer(
        library="torchattacks",
        attack="FAB multi-targeted",
        kind="fab-t",
        norms=tuple(OF_AUTOATTACK),
        call=attack("FAB", normed=True),
        options=every_target,
    ),
)
