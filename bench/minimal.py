"""`python -m bench.minimal`: attacks that look for the smallest change, ours beside those of other libraries.

Every attack of `holdfast.attacks` that is minimal, and what `bench.peers` finds installed (extra `peers`), on the same
pictures and networks in one run. The pictures are the first of the test split that the network gets right.

Under a cap, as AttackBench measures (Cinà et al. 2024, arXiv:2404.19460): the model counts the forward and backward
passes of each picture and answers nothing more after 2,000 of them; what counts is the smallest misclassified point it
was ever asked about, or that an attack returns without having asked; and attacks are ranked by optimality, the area
under their security curve beside that under the envelope of all attacks that ran (`bench.curves`). Iterative attacks
get as many steps as 2,000 passes pay for. There a pass of a batch is counted for all pictures of it, and what is only
returned does not count; here each picture has its own account.

At equal steps: each algorithm beside the same algorithm of other libraries, 100 steps, 9 times 100 where a weight is
searched, those that end of themselves as they are; without a cap, so what passes they take is a result.

By labels: attacks that see labels alone, within 1,000 and 5,000 questions a picture.

Peers keep their defaults but for the steps, and for what is in the result with each. All attacks have the model itself,
no stand-in. CPU time of one thread, without what the counting costs. A result file that is there keeps its other cases.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import holdfast
from bench import by_labels as labels
from bench import minimal_tables, peers
from bench.contest import Entry, Outcome, attempt, our_attacks, peers_attacks
from bench.networks import network
from bench.steps import COMPARED
from holdfast import data

NETWORKS = {"cnn": "fashion-mnist", "cnn-hardened": "fashion-mnist", "resnet8-hardened": "cifar-10"}
NORMS = ("linf", "l2", "l1", "l0")  # in which peers have attacks
CAP = 2000
QUERIES = (1000, 5000)  # of attacks that see labels alone


def main() -> int:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/minimal.json"))
    parser.add_argument("--only", choices=NETWORKS, nargs="+", help="networks, else those of Fashion-MNIST")
    parser.add_argument("--norm", choices=NORMS, nargs="+", default=list(NORMS))
    parser.add_argument("--attack", nargs="+", help="kinds of attack, such as ddn; else all")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--cap", type=int, default=CAP, help="passes a picture may cost, forward and backward together")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison at equal steps, for its times")
    parser.add_argument("--part", choices=("capped", "equal", "labels"), default=None, help="one, else all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions, missing = peers.load()
    show_peers(versions, missing)
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only or ("cnn", "cnn-hardened"):
        model, x, y = prepared(name, options)
        cases = result.setdefault(name, {})
        for norm in options.norm:
            case = cases.setdefault(norm, {})
            for part, measure in (("capped", capped), ("equal", equal), ("labels", by_labels)):
                if options.part in (None, part):
                    found = measure(model, x, y, norm, set(versions), options)
                    case[part] = {"conditions": conditions(options, versions, missing, len(x)), **found}
                    title = f"{name}, {norm}, {len(x)} pictures"
                    show(part, title, found, options)
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    options.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def prepared(name: str, options: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, frozen, and the first pictures it gets right, with their labels."""
    pictures = NETWORKS[name]
    model = network(name, data.load(pictures, "train", data_dir=options.data_dir), options.folder)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    test = data.load(pictures, "test", data_dir=options.data_dir, limit=4 * options.pictures + 100)
    x, y = test.x(), test.labels
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero().squeeze(1)[: options.pictures]
    return model, x[right], y[right]


def wanted(entries: Iterable[Entry], libraries: set[str], kinds: list[str] | None) -> list[Entry]:
    """Those that can run, of the kinds asked for."""
    here = libraries | {"holdfast"}
    return [entry for entry in entries if entry.library in here and (kinds is None or entry.kind in kinds)]


def capped(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, libraries: set[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Every attack within the same number of passes a picture."""
    entries = [*our_attacks(norm, options.cap), *peers_attacks(peers.PEERS, norm, options.cap)]
    outcomes = []
    for entry in wanted(entries, libraries, options.attack):
        outcomes.append(attempt(entry, model, x, y, norm, options.cap))
        note(outcomes[-1])
    return {"cap": options.cap, **minimal_tables.capped_rows(outcomes, norm)}


def by_labels(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, libraries: set[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Attacks that see labels alone, within each number of questions."""
    found = {}
    for cap in QUERIES:
        chosen = partial(wanted, libraries=libraries, kinds=options.attack)
        outcomes = labels.outcomes(model, x, y, norm, cap, chosen)
        if outcomes:
            found[str(cap)] = minimal_tables.capped_rows(outcomes, norm)
    return {"questions": found}


def equal(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, libraries: set[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Each algorithm of all libraries in turns, so that a slow spell hits all of them; the order turns around."""
    entries = wanted([*our_attacks(norm, None), *peers_attacks(peers.PEERS, norm, None)], libraries, options.attack)
    found = {}
    for kind in COMPARED:
        group = [entry for entry in entries if entry.kind == kind]
        if not group:
            continue
        rounds = []
        for number in range(options.rounds):
            order = group if number % 2 == 0 else group[::-1]
            done = {entry.name: attempt(entry, model, x, y, norm, None) for entry in order}
            rounds.append([done[entry.name] for entry in group])
        for outcome in rounds[0]:
            note(outcome)
        found[kind] = minimal_tables.equal_rows(rounds, norm)
    return {"kinds": found}


def note(outcome: Outcome) -> None:
    """A line for who waits."""
    state = outcome.error or f"{outcome.cpu_seconds:.1f} s"
    print(f"{outcome.entry.name}: {state}", file=sys.stderr, flush=True)


def show(part: str, title: str, found: dict[str, Any], options: argparse.Namespace) -> None:
    """The table of a part."""
    if part == "capped":
        minimal_tables.show_capped(f"{title}, at most {options.cap} passes", found)
    elif part == "labels":
        for cap, table in found["questions"].items():
            minimal_tables.show_capped(f"{title}, by labels, at most {cap} questions", table)
    else:
        minimal_tables.show_equal(f"{title}, at equal steps, {options.rounds} round(s)", found["kinds"])


def show_peers(versions: dict[str, str], missing: dict[str, str]) -> None:
    """Who takes part, and who does not."""
    print("peers: " + (", ".join(f"{name} {version}" for name, version in versions.items()) or "none"))
    for name, reason in missing.items():
        print(f"  {name} does not run: {reason}")


def conditions(
    options: argparse.Namespace,
    versions: dict[str, str],
    missing: dict[str, str],
    pictures: int,
    module: str = "bench.minimal",
) -> dict[str, Any]:
    """What a reader has to know to run it again."""
    return {
        "command": " ".join(["python", "-m", module, *sys.argv[1:]]),
        "clock": "CPU time of the process, one thread, without the counting; at equal steps interleaved rounds",
        "pictures": f"the first {pictures} of the test split that the network gets right",
        "seed": 0,
        "holdfast": holdfast.__version__,
        "peers": versions,
        "peers_missing": missing,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
