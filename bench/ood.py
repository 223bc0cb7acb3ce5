"""Time and peak memory of scores fitted on many features, each in a process of its own (Linux)."""

import json
import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
from time import perf_counter
import torch
from holdfast.uncertainty import score
from holdfast.uncertainty.scores import Batch, Head

name, pictures, width, asked, classes = sys.argv[1], *map(int, sys.argv[2:6])
head = Head("head", torch.randn(classes, width, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64))

class Stream:  # made as it is gone through, so that what is kept is what the score keeps
    def __iter__(self):
        for start in range(0, pictures, 500):
            yield batch(500, start)

def batch(n, seed):
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(n, width, generator=draw).relu()
    logits = features @ head.weight.T.float()
    return Batch(logits, features, torch.arange(n) % classes, logits[None][:0])

status = lambda name: int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) / 1024
batch(2, 0)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use now
before, begun = status("VmRSS"), perf_counter()
fitted = score(name).fit(head, Stream())
fitting = perf_counter() - begun
begun = perf_counter()
for start in range(0, asked, 500):
    fitted(batch(500, pictures + start))
scoring = perf_counter() - begun
print(fitting, scoring, status("VmHWM"), status("VmHWM") - before)
"""
NAMES = ("mahalanobis", "nearest", "vim", "react")


def measure(
    pictures: int = 50_000, width: int = 512, asked: int = 2_000, classes: int = 10
) -> dict[str, dict[str, float]]:
    """Seconds to fit (making the features included) and to score, peak MiB in all and above the start, by score."""
    found = {}
    for name in NAMES:
        words = [sys.executable, "-c", PROGRAM, name, *map(str, (pictures, width, asked, classes))]
        out = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        keys = ("fitting_s", "scoring_s", "peak_mib", "peak_above_start_mib")
        found[name] = dict(zip(keys, (round(float(value), 2) for value in out), strict=True))
    return found


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
