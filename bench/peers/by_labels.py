"""Other libraries' attacks that see labels alone, set to go on until the budget of questions is spent."""

from collections.abc import Callable
from importlib import import_module

import numpy as np
from torch import Tensor, nn

from bench.peers import art, foolbox
from bench.peers.peer import Call, Options, Peer

NORMS = {"l2": 2, "linf": np.inf}
PLENTY = 100_000  # iterations: the budget ends them


def of_foolbox(name: str, **options: object) -> Call:
    """From its class, the norm by its option."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, given: Options) -> Tensor:
        chosen = {"constraint": norm} if name == "HopSkipJumpAttack" else {}
        return foolbox.attack({norm: name})(model, x, y, norm, {**options, **chosen})

    return call


def of_art(name: str, with_norm: bool, **options: object) -> Call:
    """From its class."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, given: Options) -> Tensor:
        chosen = {"norm": NORMS[norm]} if with_norm else {}
        return art.generated(name, model, x, y, {**options, **chosen})

    return call


def hop_skip_jump(model: nn.Module, x: Tensor, y: Tensor, norm: str, given: Options) -> Tensor:
    """CleverHans', which takes the model's own answers for labels."""
    theirs = import_module("cleverhans.torch.attacks.hop_skip_jump_attack")
    found: Tensor = theirs.hop_skip_jump_attack(model, x, NORMS[norm], num_iterations=PLENTY, verbose=False)
    return found


def peer(library: str, name: str, kind: str, call: Callable[..., Tensor], *norms: str) -> Peer:
    """A row."""
    return Peer(library=library, attack=name, kind=kind, norms=norms or ("l2",), call=call)


PEERS = (
    peer("foolbox", "HopSkipJump", "hop-skip-jump", of_foolbox("HopSkipJumpAttack", steps=PLENTY), "l2", "linf"),
    peer("foolbox", "BoundaryAttack", "boundary", of_foolbox("BoundaryAttack", steps=PLENTY)),
    peer("art", "HopSkipJump", "hop-skip-jump", of_art("HopSkipJump", True, max_iter=PLENTY), "l2", "linf"),
    peer("art", "BoundaryAttack", "boundary", of_art("BoundaryAttack", False, targeted=False, max_iter=PLENTY)),
    peer("art", "GeoDA", "geoda", of_art("GeoDA", True, max_iter=5000), "l2", "linf"),
    peer("art", "SignOPTAttack", "sign-opt", of_art("SignOPTAttack", False, targeted=False, query_limit=5000)),
    peer("cleverhans", "hop_skip_jump_attack", "hop-skip-jump", hop_skip_jump, "l2", "linf"),
)
