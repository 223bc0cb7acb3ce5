"""Peak memory of an evaluation against the number of pictures, each in a process of its own (Linux)."""

import json
import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from holdfast import data, models, Linf, PGD
from holdfast.evaluate import evaluate
n = int(sys.argv[1])
images = np.random.default_rng(0).integers(0, 256, (n, 1, 28, 28), dtype=np.uint8)
pictures = data.Pictures.from_arrays(images, np.arange(n) % 10)
model = models.build("cnn", shape=(1, 28, 28), classes=10, seed=0)
status = lambda name: int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) // 1024
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use now
before = status("VmRSS")
evaluate(model, pictures, Linf(eps=0.01), PGD(steps=2), checks=False, batch=250, out=sys.argv[2])
print(before, status("VmHWM"))
"""


def measure(folder: str, sizes: tuple[int, ...] = (1_000, 10_000, 30_000)) -> dict[str, int]:
    """Peak MiB above what the process held before the evaluation, the pictures included, by number of pictures."""
    peaks = {}
    for size in sizes:
        command = [sys.executable, "-c", PROGRAM, str(size), f"{folder}/memory-{size}"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peaks[str(size)] = int(out[1]) - int(out[0])
    return peaks


if __name__ == "__main__":
    json.dump(measure(sys.argv[1]), sys.stdout)
