"""adv-lib (Rony), https://github.com/jeromerony/adversarial-library."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from bench.peers.peer import Call, Options, Peer, steps_as
from bench.steps import SEARCHES

P = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
LARGEST = {"linf": 1.0, "l2": 10.0, "l1": 200.0}  # the largest radius that a bisection looks at


def plain(name: str, module: str = "adv_lib.attacks") -> Call:
    """A function of one norm."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        found: Tensor = getattr(import_module(module), name)(model, x, y, **options)
        return found

    return call


def normed(name: str, option: str = "norm", module: str = "adv_lib.attacks") -> Call:
    """A function that takes the norm."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        found: Tensor = getattr(import_module(module), name)(model, x, y, **{option: P[norm]}, **options)
        return found

    return call


def named(name: str) -> Call:
    """A function that takes the norm's name."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        found: Tensor = getattr(import_module("adv_lib.attacks"), name)(model, x, y, distance=norm, **options)
        return found

    return call


def searched(norm: str, steps: int | None) -> Options:
    """Carlini & Wagner's."""
    return {"binary_search_steps": SEARCHES, "max_iterations": steps}


def bisected(norm: str, steps: int | None) -> Options:
    """Twenty radii, as by default, of 50 steps: what two thousand passes pay for. The largest has no default."""
    return {"max_eps": LARGEST[norm], "n_iter": 50}


def untargeted(norm: str, steps: int | None) -> Options:
    """For a function that wants to be told."""
    return {"targeted": False}


def peer(attack: str, kind: str, norms: str, call: Call, options: Callable[[str, int | None], Any]) -> Peer:
    """A row."""
    return Peer(library="adv_lib", attack=attack, kind=kind, norms=tuple(norms.split()), call=call, options=options)


AUTO_PGD = "adv_lib.attacks.auto_pgd"
PEERS = (
    peer("ddn", "ddn", "l2", plain("ddn"), steps_as("steps")),
    peer("fmn", "fmn", "l0 l1 l2 linf", normed("fmn"), steps_as("steps")),
    peer("alma", "alma", "l1 l2", named("alma"), steps_as("num_steps")),
    peer("pdgd", "pdgd", "l2", plain("pdgd"), steps_as("num_steps")),
    peer("pdpgd", "pdpgd", "l0 l1 l2 linf", normed("pdpgd"), steps_as("num_steps")),
    peer("sigma_zero", "sigma-zero", "l0", plain("sigma_zero"), steps_as("num_steps")),
    peer("carlini_wagner_l2", "cw", "l2", plain("carlini_wagner_l2"), searched),
    peer("carlini_wagner_linf", "cw-linf", "linf", plain("carlini_wagner_linf"), steps_as("max_iterations")),
    peer("df", "deepfool", "l2 linf", normed("df"), steps_as("steps")),
    peer("sdf", "superdeepfool", "l2", plain("sdf"), steps_as("steps")),
    peer("fab", "fab", "l1 l2 linf", normed("fab"), steps_as("n_iter")),
    peer("minimal_apgd", "bisect", "l1 l2 linf", normed("minimal_apgd", module=AUTO_PGD), bisected),
    peer("tr", "trust-region", "l2 linf", normed("tr", "p"), steps_as("iter")),
    peer("vfga", "vfga", "l0", plain("vfga"), untargeted),
)
