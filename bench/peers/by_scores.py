"""Other libraries' attacks that see scores alone, set to go on until the budget of questions is spent."""

import math
from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.peers import art, torchattacks
from bench.peers.peer import OF_AUTOATTACK, Call, Options, Peer

IN_A_BATCH = ("pyautoattack:SquareAttack", "torchattacks:Square", "torchattacks:SPSA", "art:SquareAttack")
"""Those that ask about all pictures together; the others go from picture to picture themselves."""

ART_SQUARE = 3  # passes a step: two of the best so far, one of the change
SPSA_WAYS = 128  # as many as those who have it draw by default, each asked about in both directions
SEARCHES = 4  # weights that ZOO tries, as many as ours does by default
ZOO_VALUES = 32  # moved a step, as many as ours does by default


def square(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """That of AutoAttack's reference implementation."""
    maker = import_module("pyautoattack.square").SquareAttack
    attack = maker(model, norm=OF_AUTOATTACK[norm], device="cpu", seed=torch.initial_seed(), **options)
    found: Tensor = attack.perturb(x, y)
    return found


def of_torchattacks_square(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """torchattacks', which would else begin from the same seed for every picture."""
    given = {"seed": torch.initial_seed(), **options}
    return torchattacks.attack("Square", normed=True)(model, x, y, norm, given)


def of_art(name: str, probabilities: bool = False) -> Call:
    """From its class, whatever its batches are by default; labels as SimBA wants them."""

    def call(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
        hot = functional.one_hot(y, model.classes)
        return art.generated(name, model, x, hot, options, probabilities)

    return call


def spsa(model: nn.Module, x: Tensor, y: Tensor, norm: str, options: Options) -> Tensor:
    """CleverHans'."""
    theirs = import_module("cleverhans.torch.attacks.spsa")
    found: Tensor = theirs.spsa(model, x, y=y, norm=math.inf, clip_min=0.0, clip_max=1.0, **options)
    return found


def peer(library: str, name: str, kind: str, norm: str, call: Call, **options: object) -> Peer:
    """A row, of one norm and with these options."""

    def given(norm: str, steps: int | None) -> Options:
        return options

    return Peer(library=library, attack=name, kind=kind, norms=(norm,), call=call, options=given)


def squares(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """Square, its schedule stretched over the questions there are."""
    return (
        peer("pyautoattack", "SquareAttack", "square", "linf", square, eps=radius, n_queries=cap),
        peer("torchattacks", "Square", "square", "linf", of_torchattacks_square, eps=radius, n_queries=cap),
        peer("art", "SquareAttack", "square", "linf", of_art("SquareAttack"), eps=radius, max_iter=cap // ART_SQUARE),
    )


def simba_of_values(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """SimBA, one value after the other; it has no radius."""
    return tuple(simba(f"px {order}", "simba-pixels", cap, attack="px", order=order) for order in ("random", "diag"))


def simba_of_waves(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """SimBA over the cosine transform: all waves in any order, and as by default those of 4 x 4 first."""
    return tuple(simba(f"dct {first}", "simba-dct", cap, attack="dct", freq_dim=first) for first in (side, 4))


def simba(name: str, kind: str, cap: int, **options: object) -> Peer:
    """ART's, which wants a model of probabilities."""
    call = of_art("SimBA", probabilities=True)
    return peer("art", f"SimBA {name}", kind, "l2", call, epsilon=0.2, max_iter=cap, **options)


def spsas(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """SPSA, of as many steps as the questions pay for."""
    steps = max(1, cap // (2 * SPSA_WAYS))
    of_torchattacks = torchattacks.attack("SPSA")
    return (
        peer("cleverhans", "spsa", "spsa", "linf", spsa, eps=radius, nb_iter=steps, spsa_samples=SPSA_WAYS),
        peer("torchattacks", "SPSA", "spsa", "linf", of_torchattacks, eps=radius, nb_iter=steps, nb_sample=SPSA_WAYS),
    )


def one_pixels(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """Differential evolution: with the paper's 400 candidates, and with as many as torchattacks has by default."""
    few = torchattacks.attack("OnePixel")
    pixels = int(radius)
    return (
        *(
            peer("torchattacks", f"OnePixel {size}", "one-pixel", "pixels", few, pixels=pixels, popsize=size, steps=cap)
            for size in (400, 10)
        ),
        peer("art", "PixelAttack", "one-pixel", "pixels", of_art("PixelAttack", True), th=pixels, max_iter=cap),
    )


def zoos(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """ZOO by its defaults, by those until the questions are spent, and set like ours, on the picture's own grid."""
    alike = {
        "use_resize": False,
        "use_importance": False,
        "nb_parallel": ZOO_VALUES,
        "binary_search_steps": SEARCHES,
        "max_iter": max(1, cap // SEARCHES // (2 * ZOO_VALUES + 1)),
        "initial_const": 0.1,
        "learning_rate": 0.05,
        "abort_early": False,
    }
    spending = {"max_iter": max(1, cap // SEARCHES // 257), "binary_search_steps": SEARCHES, "initial_const": 0.1}
    return (
        peer("art", "ZooAttack", "zoo", "l2", of_art("ZooAttack")),
        peer("art", "ZooAttack, all questions", "zoo", "l2", of_art("ZooAttack"), **spending),
        peer("art", "ZooAttack, as ours", "zoo", "l2", of_art("ZooAttack"), **alike),
    )


Family = Callable[[float, int, int], tuple[Peer, ...]]
"""From a radius, a cap of questions and a picture's side to what other libraries have of an algorithm."""


def nothing(radius: float, cap: int, side: int) -> tuple[Peer, ...]:
    """What nobody else has."""
    return ()
