"""One attack on one network under watch: what it found and what that cost."""

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.peers import Peer
from bench.steps import steps
from bench.tracking import Exhausted, Tracked
from holdfast.access import Access
from holdfast.attacks import ATTACKS, Attack, build, smallest
from holdfast.attacks.attack import minimal, norms
from holdfast.attacks.record import within
from holdfast.generators import all_seeded
from holdfast.options import describe, to_plain
from holdfast.threats import NORMS, Threat

OURS = "holdfast"
BATCH = 256


@dataclass(frozen=True)
class Entry:
    """An attack with its settings, ready to run."""

    library: str
    name: str
    kind: str
    options: Mapping[str, Any]  # what it is given beyond its defaults, or for ours all of them
    call: Callable[[Tracked], Tensor]  # what it returns
    attack: Attack | None = None  # one of ours


@dataclass(frozen=True)
class Outcome:
    """What was seen of an attack, one row a picture."""

    entry: Entry
    smallest: dict[str, Tensor]  # (N,) float64 in every norm, asked about or returned; infinite if nothing was found
    forward: Tensor  # (N,) int64
    backward: Tensor  # (N,) int64
    cpu_seconds: float  # without the watching, up to where no picture could pay any more
    stopped: bool  # by the cap, so that it returned nothing
    returned: Tensor | None  # (N,) float64: size of what it returned, in the norm it was run for; infinite if harmless
    error: str | None = None
    out_of_place: int = 0
    first: Tensor | None = None  # (N,) float64: the forward pass of the first success inside; infinite if there is none


def our_attacks(norm: str, cap: int | None, by_labels: bool = False) -> list[Entry]:
    """Every attack that is registered as minimal and has a form for the norm, with as many steps as peers get.

    Of those that see labels alone, all with `cap` questions; else of those with gradients.
    """
    entries = []
    for name, kind in ATTACKS.items():
        seen = kind.access == Access.LABELS if by_labels else kind.access > Access.SCORES
        if minimal(kind) and seen and norm in (norms(kind) or NORMS):
            attack = with_count(name, "queries", cap) if by_labels else with_count(name, "steps", steps(name, cap))
            entries.append(
                Entry(OURS, f"{OURS}:{name}", name, to_plain(attack), partial(call_ours, attack, norm), attack)
            )
    return entries


def with_count(name: str, option: str, count: int | None) -> Attack:
    """The attack of that name with so many steps or questions, if it has the option and there is a number to set."""
    known = {each.name for each in describe(ATTACKS[name])}
    return build(name, {option: str(count)} if count is not None and option in known else {})


def call_ours(attack: Attack, norm: str, model: Tracked) -> Tensor:
    """`smallest`, whose own count of passes must be that of the watch."""
    found = smallest(attack, model, model.x, model.y, NORMS[norm](eps=0), batch=BATCH)
    if model.cap is None or bool((model.passes < model.cap).all()):
        counted = (int(found.forward.sum()), int(found.backward.sum()))
        watched = (int(model.forward_passes.sum()), int(model.backward_passes.sum()))
        assert counted == watched, f"{attack}: the engine counted {counted} passes, the watch {watched}"
    return found.x_adv


def peers_attacks(peers: tuple[Peer, ...], norm: str, cap: int | None) -> list[Entry]:
    """Every peer's attack for the norm."""
    entries = []
    for peer in peers:
        if norm in peer.norms:
            options = peer.options(norm, steps(peer.kind, cap))
            entries.append(Entry(peer.library, peer.name, peer.kind, options, partial(call_peer, peer, norm, options)))
    return entries


def call_peer(peer: Peer, norm: str, options: Mapping[str, Any], model: Tracked) -> Tensor:
    """The peer's, on copies: some work in place."""
    return peer.call(model, model.x.clone(), model.y.clone(), norm, options)


def attempt(
    entry: Entry,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    cap: int | None,
    threat: Threat | None = None,
    seed: int = 0,
) -> Outcome:
    """Run an attack, with a `threat` until its first success inside; a peer's error is noted, one of ours is raised."""
    model, returned, error, stopped = Tracked(net, x, y, cap, threat).eval(), None, None, False
    # Peers draw from torch's, NumPy's and Python's global generators; all attacks find the same numbers there.
    drawn = all_seeded(seed, "contest", torch.arange(len(x)), x.device)
    begun = time.process_time()
    try:
        with drawn, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            if entry.library != OURS:
                warnings.simplefilter("ignore")
            returned = entry.call(model)
    except Exhausted:
        stopped = True
    except Exception as caught:
        if entry.library == OURS:
            raise
        error = f"{type(caught).__name__}: {caught}"
    spent = time.process_time() - begun - model.bookkeeping
    given = None if returned is None else returned_sizes(net, x, y, returned)
    return Outcome(
        entry,
        {name: seen if given is None else seen.minimum(given[name]) for name, seen in model.smallest.items()},
        model.forward_passes,
        model.backward_passes,
        spent,
        stopped,
        None if given is None else given[norm],
        error,
        model.out_of_place,
        model.first if given is None else or_returned(model, given),
    )


def or_returned(model: Tracked, given: Mapping[str, Tensor]) -> Tensor:
    """(N,) float64: the first success; where none was asked about but one is returned, that is the next question.

    `given`: the sizes of what is returned, in every norm, infinite if it is harmless.
    """
    if model.threat is None:
        return model.first
    late = model.first.isinf() & within(model.threat, given[model.threat.name], model.x.dtype)
    if model.cap is not None:
        late &= model.forward_passes < model.cap
    return torch.where(late, model.forward_passes.double() + 1, model.first)


@torch.no_grad()
def returned_sizes(net: nn.Module, x: Tensor, y: Tensor, returned: Tensor) -> dict[str, Tensor]:
    """(N,) float64 in each norm: the size of what an attack gave back, put into the box; infinite if that harms none.

    It counts as if it had been asked about, at no cost: some attacks end with a step that they do not look at.
    """
    points = returned.detach().to(x).clamp(0.0, 1.0)
    harm = (net(points).argmax(1) != y) & points.flatten(1).isfinite().all(1)
    delta = points.double() - x.double()
    sizes = {name: kind(eps=0).size(delta).double() for name, kind in NORMS.items()}
    return {name: torch.where(harm, size, torch.inf) for name, size in sizes.items()}
