"""`python -m bench.corruptions`: pictures a second of every corruption, beside others'.

Ours on batches of 256 of 32x32 in three channels; beside them the same corruptions as the tests have them, written a
second time in NumPy and SciPy, picture by picture (`tests/corruption_oracles.py`); and, with --peer, those of
imagecorruptions, which need a Python of their own:

    python3.11 -m venv peer
    peer/bin/pip install imagecorruptions "numpy<2" "scikit-image<0.19" "scipy<1.12" "setuptools<70"
    python -m bench.corruptions --peer peer/bin/python

imagecorruptions has the severities of ImageNet, and so has ours beside it; elsewhere they are those of small pictures.
All five severities in a row, the best of the rounds: CPU time with one thread, which other work on the machine hardly
touches; wall-clock time with more, for a machine that has nothing else to do. Points of the plasma, of edges and of
shuffled pixels are loops of Python in the tests, so that there the ratio says little; imagecorruptions calls OpenCV.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import holdfast
from holdfast.corrupt import CORRUPTIONS, corrupted
from holdfast.corrupt.frost_texture import textures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

BATCH, SIDE, SEVERITIES = 256, 32, range(1, 6)
OF_IMAGECORRUPTIONS = {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}
PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import cv2
import numpy as np
from imagecorruptions import corrupt
clock = time.process_time if sys.argv[2] == "1" else time.perf_counter
pictures = np.random.RandomState(0).randint(0, 256, (64, 32, 32, 3)).astype(np.uint8)
names, rounds = sys.argv[3:], int(sys.argv[1])
cv2.setNumThreads(int(sys.argv[2]))
found = {}
for name in names:
    best = float("inf")
    for _ in range(rounds):
        begun = clock()
        for severity in range(1, 6):
            for picture in pictures:
                corrupt(picture, corruption_name=name, severity=severity)
        best = min(best, clock() - begun)
    found[name] = 5 * len(pictures) / best
print(json.dumps(found))
"""


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CORRUPTIONS, nargs="+", default=list(CORRUPTIONS))
    parser.add_argument("--peer", type=Path, default=None, help="a Python that has imagecorruptions")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/corruptions.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peers = by_imagecorruptions(options.peer, options.only, options.rounds)
    rows = [measured(name, peers.get(name), options.rounds) for name in options.only]
    show(rows)
    told = {
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", "-m", "bench.corruptions", *sys.argv[1:]]),
        "batch": BATCH,
        "shape": [3, SIDE, SIDE],
        "rounds": options.rounds,
        "clock": f"{'CPU' if options.threads == 1 else 'wall-clock'} time, best of the rounds",
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"conditions": told, "rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def measured(name: str, peer: float | None, rounds: int) -> dict[str, Any]:
    """Pictures a second of one corruption, ours by both tables, and how much faster that is."""
    small, imagenet = (ours(name, table, rounds) for table in ("small", "imagenet"))
    oracle = by_oracle(name, rounds)
    return {
        "corruption": name,
        "ours_small": small,
        "ours_imagenet": imagenet,
        "oracle": oracle,
        "over_oracle": small / oracle,
        "imagecorruptions": peer,
        "over_imagecorruptions": None if peer is None else imagenet / peer,
    }


def pictures_of(count: int) -> np.ndarray:
    """uint8 (count, 32, 32, 3)."""
    return np.random.RandomState(0).randint(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def best(job: Callable[[], object], pictures: int, rounds: int) -> float:
    """Pictures a second in the best round, after one that does not count."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    job()
    shortest = math.inf
    for _ in range(rounds):
        begun = clock()
        job()
        shortest = min(shortest, clock() - begun)
    return pictures / shortest


def ours(name: str, table: Any, rounds: int) -> float:
    """Of `holdfast.corrupt`."""
    x, place = (
        torch.from_numpy(pictures_of(BATCH)).permute(0, 3, 1, 2).float().div(255).contiguous(),
        torch.arange(BATCH),
    )

    def job() -> None:
        for severity in SEVERITIES:
            corrupted(x, name, severity, seed=0, place=place, table=table)

    return best(job, BATCH * len(SEVERITIES), rounds)


def by_oracle(name: str, rounds: int) -> float:
    """Of the tests' own."""
    from corruption_oracles import ORACLES, SMALL

    pictures, rng = pictures_of(16 if name in ("fog", "glass-blur", "spatter") else 64), np.random.RandomState(0)
    ice = (textures(5, coloured=True).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    more = {"ice": ice} if name == "frost" else {}

    def job() -> None:
        for strength in SMALL[name]:
            for picture in pictures:
                ORACLES[name](picture, strength, rng, **more)

    return best(job, len(pictures) * len(SEVERITIES), rounds)


def by_imagecorruptions(python: Path | None, names: list[str], rounds: int) -> dict[str, float]:
    """Of imagecorruptions, where there is a Python that has it."""
    if python is None:
        return {}
    theirs = {OF_IMAGECORRUPTIONS.get(name, name.replace("-", "_")): name for name in names}
    command = [str(python), "-c", PEER, str(rounds), str(torch.get_num_threads()), *theirs]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {theirs[name]: rate for name, rate in json.loads(done.stdout.splitlines()[-1]).items()}


def show(rows: list[dict[str, Any]]) -> None:
    """A table, and the mean and the smallest of the ratios."""
    print(f"{'pictures/s':16}{'small':>10}{'NumPy':>10}{'ratio':>8}{'ImageNet':>12}{'imagecorr.':>12}{'ratio':>8}")
    for row in rows:
        line = "{corruption:16}{ours_small:10,.0f}{oracle:10,.0f}{over_oracle:8.1f}{ours_imagenet:12,.0f}".format(**row)
        if row["imagecorruptions"] is not None:
            line += "{imagecorruptions:12,.0f}{over_imagecorruptions:8.1f}".format(**row)
        print(line)
    for name, key in (("NumPy", "over_oracle"), ("imagecorruptions", "over_imagecorruptions")):
        ratios = [row[key] for row in rows if row[key] is not None]
        if ratios:
            middle = statistics.geometric_mean(ratios)
            print(f"over {name}: mean {statistics.mean(ratios):.1f}, geometric {middle:.1f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())
