"""Attacks that see labels alone, ours and other libraries', within the same number of questions a picture."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bench.contest import BATCH, OURS, Entry, Outcome, attempt, our_attacks, peers_attacks
from bench.peers import BY_LABELS
from holdfast.attacks import smallest
from holdfast.threats import NORMS


def outcomes(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    cap: int,
    chosen: Callable[[Sequence[Entry]], list[Entry]],
) -> list[Outcome]:
    """Ours on all pictures together, counted by the engine; each peer picture by picture, counted and capped.

    Points may lie near other pictures here, where ours begin, so that rows of a batch could not be told apart from
    outside. Peers begin as they do by default, at noise.
    """
    entries = chosen([*our_attacks(norm, cap, by_labels=True), *peers_attacks(BY_LABELS, norm, cap)])
    done = []
    for entry in entries:
        if entry.library == OURS:
            done.append(ours(entry, model, x, y, norm))
        else:
            singles = [attempt(entry, model, x[i : i + 1], y[i : i + 1], norm, cap) for i in range(len(x))]
            done.append(joined(singles, norm))
        print(f"{entry.name}, {cap}: {done[-1].error or f'{done[-1].cpu_seconds:.1f} s'}", flush=True)
    return done


def ours(entry: Entry, model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Outcome:
    """By the engine's own count, which tests hold to what hooks see."""
    assert entry.attack is not None
    begun = time.process_time()
    found = smallest(entry.attack, model, x, y, NORMS[norm](eps=0), batch=BATCH)
    spent = time.process_time() - begun
    delta = found.x_adv.double() - x.double()
    sizes = {
        name: torch.where(found.success, kind(eps=0).size(delta).double(), torch.inf) for name, kind in NORMS.items()
    }
    return Outcome(entry, sizes, found.forward, found.backward, spent, False, sizes[norm])


def joined(singles: Sequence[Outcome], norm: str) -> Outcome:
    """The outcomes of one attack on single pictures as one.

    An error after the budget was spent, where the model answers nothing any more, is none; one before it leaves the
    picture with what was seen until then, and is told if no picture has anything.
    """
    sizes = {name: torch.cat([one.smallest[name] for one in singles]) for name in singles[0].smallest}
    errors = [one.error for one in singles if one.error is not None]
    return Outcome(
        singles[0].entry,
        sizes,
        torch.cat([one.forward for one in singles]),
        torch.cat([one.backward for one in singles]),
        sum(one.cpu_seconds for one in singles),
        any(one.stopped for one in singles),
        None,
        errors[0] if errors and bool(sizes[norm].isinf().all()) else None,
        first=torch.cat([one.first for one in singles if one.first is not None]),
    )
