"""FAB as the reference implementation of AutoAttack has it (Croce & Hein 2020), arXiv:2003.01690."""

from importlib import import_module

from torch import Tensor, nn

from bench.peers.peer import Options, Peer, steps_as

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def fab(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """Its class, with the seed it would else take from the clock."""
    maker = import_module("pyautoattack.fab_pt").FABAttack_PT
    found: Tensor = maker(model, norm=NORMS[norm], device="cpu", seed=0, **options).perturb(x, y)
    return found


def every_target(norm: str, steps: int | None) -> Options:
    """A radius of next to nothing, within which no target is reached, or it would stop at the first that is."""
    return {"n_iter": steps, "targeted": True, "n_target_classes": 9, "eps": 1e-6}


PEERS = (
    Peer(library="pyautoattack", attack="FAB", kind="fab", norms=tuple(NORMS), call=fab, options=steps_as("n_iter")),
    Peer(library="pyautoattack", attack="FAB-T", kind="fab-t", norms=tuple(NORMS), call=fab, options=every_target),
)
