"""FAB as the reference implementation of AutoAttack has it (Croce & Hein 2020), arXiv:2003.01690."""

from collections.abc import Callable
from importlib import import_module

from torch import Tensor, nn

from bench.peers.peer import OF_AUTOATTACK, Options, Peer, steps_as


def fab(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """Its class, with the seed it would else take from the clock."""
    maker = import_module("pyautoattack.fab_pt").FABAttack_PT
    found: Tensor = maker(model, norm=OF_AUTOATTACK[norm], device="cpu", seed=0, **options).perturb(x, y)
    return found


def every_target(norm: str, steps: int | None) -> Options:
    """A radius of next to nothing, within which no target is reached, or it would stop at the first that is."""
    return {"n_iter": steps, "targeted": True, "n_target_classes": 9, "eps": 1e-6}


def peer(name: str, kind: str, options: Callable[[str, int | None], Options]) -> Peer:
    """A row."""
    norms = tuple(OF_AUTOATTACK)
    return Peer(library="pyautoattack", attack=name, kind=kind, norms=norms, call=fab, options=options)


PEERS = (peer("FAB", "fab", steps_as("n_iter")), peer("FAB-T", "fab-t", every_target))
