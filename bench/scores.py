"""`python -m bench.scores`: attacks that see scores alone, ours beside those of other libraries, at equal budgets.

How many questions a picture costs until the first success inside a threat. Every forward pass of a picture is counted
by a watch on the model (`bench.tracking`), for all alike: those about the unchanged picture too, of which ours asks one
and others none or several; of several points that are asked about at once, those that come before the success. At the
first success or after `--cap` questions the watch ends the search. A success that is returned without having been
asked about counts as one question more.

Where the threat is so small that points near one picture cannot be taken for points near another, attacks that can
have all pictures together; else, and those that go from picture to picture themselves, one after another.

Linf at 0.03 for the ordinary network and 0.1 for the hardened one; SimBA in the whole box, as it has no radius; one and
three pixels. ZOO looks for the smallest change in L2, so what is shown of it is the smallest seen.

Peers keep their defaults but for what is in the result with each. CPU time of one thread, without what the counting
costs. A result file that is there keeps its other cases.
"""

import argparse
import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import minimal_tables, peers, scores_tables
from bench.by_labels import joined
from bench.by_labels import ours as smallest_of_ours
from bench.contest import BATCH, OURS, Entry, Outcome, attempt, peers_attacks
from bench.minimal import conditions, prepared, show_peers
from bench.peers import by_scores
from bench.peers.by_scores import Family
from bench.tracking import Tracked
from holdfast.attacks import NES, SPSA, ZOO, Attack, HillClimbing, OnePixel, SignHunter, SimBA, SparseRS, Square, run
from holdfast.attacks.attack import minimal
from holdfast.options import to_plain
from holdfast.threats import L2, Linf, Pixels, Threat, whole_box

RADII = {"cnn": 0.03, "cnn-hardened": 0.1}
CAP = 5000
CLOCK = "CPU time of the process, one thread, without the counting"


@dataclass(frozen=True)
class Group:
    """Attacks of one algorithm, on one threat."""

    threat: Threat
    ours: tuple[Attack, ...]
    family: Family = by_scores.nothing


def groups(radius: float, cap: int, shape: tuple[int, ...]) -> dict[str, Group]:
    """What is set side by side, by name; `radius` is that in Linf."""
    linf, box = Linf(eps=radius), L2(eps=whole_box(L2(eps=0), shape))
    found = {
        "square": Group(linf, (Square(queries=cap),), by_scores.squares),
        "spsa": Group(linf, (SPSA(queries=cap),), by_scores.spsas),
        "nes": Group(linf, (NES(queries=cap),)),
        "sign-hunter": Group(linf, (SignHunter(queries=cap),)),
        "hill-climbing": Group(linf, (HillClimbing(queries=cap),)),
        "simba-pixels": Group(box, (SimBA(queries=cap),), by_scores.simba_of_values),
        "simba-dct": Group(box, (SimBA(queries=cap, basis="dct"),), by_scores.simba_of_waves),
    }
    for pixels in (1, 3):
        attacks = tuple(OnePixel(pixels=pixels, population=size, generations=-(-cap // size)) for size in (400, 100))
        found[f"one-pixel-{pixels}"] = Group(Pixels(eps=pixels), attacks, by_scores.one_pixels)
        found[f"sparse-rs-{pixels}"] = Group(Pixels(eps=pixels), (SparseRS(queries=cap),))
    return found | {"zoo": Group(L2(eps=0), (ZOO(queries=cap),), by_scores.zoos)}


def main() -> int:
    """Measure the cases asked for."""
    names = list(groups(0.0, CAP, (1, 1, 1)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/scores.json"))
    parser.add_argument("--only", choices=RADII, nargs="+", default=list(RADII), help="networks")
    parser.add_argument("--attack", choices=names, nargs="+", default=names)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--cap", type=int, default=CAP, help="questions that may be asked about a picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions, missing = peers.load()
    show_peers(versions, missing)
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only:
        model, x, y = prepared(name, options)
        cases = result.setdefault(name, {})
        all_groups = groups(RADII[name], options.cap, tuple(x.shape[1:]))
        for attack in options.attack:
            found = measured(all_groups[attack], model, x, y, options.cap, versions)
            told = conditions(options, versions, missing, len(x), "bench.scores") | {"clock": CLOCK}
            cases[attack] = {"conditions": told, **found}
            show(f"{name}, {attack}, {len(x)} pictures, at most {options.cap} questions", found)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def measured(
    group: Group, model: nn.Module, x: Tensor, y: Tensor, cap: int, libraries: Collection[str]
) -> dict[str, Any]:
    """All of a group that can run, and what is to be said of them."""
    smallest = all(map(minimal, group.ours))
    outcomes, faults = [], {}
    for entry in entries(group, x, cap):
        if entry.library in (OURS, *libraries):
            outcome, errors = (smallest_seen if smallest else first_success)(entry, group.threat, model, x, y, cap)
            outcomes.append(outcome)
            faults[entry.name] = dict(errors)
            print(f"{entry.name}: {outcome.error or f'{outcome.cpu_seconds:.1f} s'}", file=sys.stderr, flush=True)
    if smallest:
        found = minimal_tables.capped_rows(outcomes, group.threat.name)
    else:
        found = scores_tables.rows(outcomes, cap)
    threat = {"name": group.threat.name, "eps": None if smallest else group.threat.eps}
    return {"cap": cap, "threat": threat, **found, "errors": {name: each for name, each in faults.items() if each}}


def entries(group: Group, x: Tensor, cap: int) -> list[Entry]:
    """Ours, then the peers'."""
    norm, radius = group.threat.name, float(group.threat.eps)
    made = []
    for attack in group.ours:
        settings = to_plain(attack)
        label = f"{OURS}:{attack.name}"
        if isinstance(attack, OnePixel):
            label += f" {attack.population}"
        made.append(Entry(OURS, label, attack.name, settings, partial(asked, attack, group.threat), attack))
    return made + peers_attacks(group.family(radius, cap, x.shape[-1]), norm, cap)


def asked(attack: Attack, threat: Threat, model: Tracked) -> Tensor:
    """One of ours, by `run`, on the pictures of the watch; their noise is keyed by the seed that torch was given."""
    found = run(attack, model, model.x, model.y, threat, seed=torch.initial_seed(), batch=BATCH)
    assert bool((model.forward_passes <= found.forward).all()), f"{attack}: the watch saw passes that were not counted"
    return found.x_adv


def first_success(
    entry: Entry, threat: Threat, model: nn.Module, x: Tensor, y: Tensor, cap: int
) -> tuple[Outcome, Counter[str]]:
    """The outcome, and on how many pictures which error came up."""
    norm = threat.name
    together = entry.library == OURS or entry.name in by_scores.IN_A_BATCH
    if together and told_apart(x, threat):
        outcome = attempt(entry, model, x, y, norm, cap, threat)
        return outcome, Counter([outcome.error] * len(x) if outcome.error else [])
    singles = [attempt(entry, model, x[i : i + 1], y[i : i + 1], norm, cap, threat, seed=i) for i in range(len(x))]
    return joined(singles, norm), Counter(one.error for one in singles if one.error is not None)


def smallest_seen(
    entry: Entry, threat: Threat, model: nn.Module, x: Tensor, y: Tensor, cap: int
) -> tuple[Outcome, Counter[str]]:
    """The same for an attack that looks for the smallest change."""
    norm = threat.name
    if entry.library == OURS:
        return smallest_of_ours(entry, model, x, y, norm), Counter()
    singles = [attempt(entry, model, x[i : i + 1], y[i : i + 1], norm, cap, seed=i) for i in range(len(x))]
    return joined(singles, norm), Counter(one.error for one in singles if one.error is not None)


def told_apart(x: Tensor, threat: Threat) -> bool:
    """Whether no point within twice the radius of one picture is as near to another, in the threat's norm.

    Twice, since estimates of gradients are made of points a little outside.
    """
    apart = min((float(threat.size((a - b)[None])) for a, b in itertools.combinations(x, 2)), default=math.inf)
    return apart > 4 * float(threat.eps)


def show(title: str, found: dict[str, Any]) -> None:
    """The table of a group."""
    if "together" in found:
        minimal_tables.show_capped(title, found)
    else:
        scores_tables.show(title, found)


if __name__ == "__main__":
    sys.exit(main())
