"""CleverHans (Papernot et al. 2018), arXiv:1610.00768."""

from importlib import import_module

from torch import Tensor, nn

from bench.peers.peer import Options, Peer
from bench.steps import SEARCHES


def carlini_wagner(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """It wants the number of classes."""
    theirs = import_module("cleverhans.torch.attacks.carlini_wagner_l2")
    found: Tensor = theirs.carlini_wagner_l2(model, x, model.classes, y=y, **options)
    return found


def searched(norm: str, steps: int | None) -> Options:
    """By default five weights."""
    return {"binary_search_steps": SEARCHES, "max_iterations": steps}


PEERS = (
    Peer(
        library="cleverhans",
        attack="carlini_wagner_l2",
        kind="cw",
        norms=("l2",),
        call=carlini_wagner,
        options=searched,
    ),
)
