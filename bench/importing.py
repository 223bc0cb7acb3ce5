"""What `import holdfast` costs beside `import torch`."""

import statistics
import subprocess
import sys

PROGRAM = """
import time
begun = time.perf_counter(); import torch; middle = time.perf_counter(); import holdfast
from holdfast import attacks, threats
print(middle - begun, time.perf_counter() - middle)
"""


def measure(rounds: int) -> dict[str, float]:
    """Median wall seconds of `import torch`, and of holdfast with its attacks and threats after it."""
    found = []
    for _ in range(rounds):
        out = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
        found.append([float(word) for word in out.split()])
    torch_seconds, own = zip(*found, strict=True)
    return {"torch": statistics.median(torch_seconds), "holdfast": statistics.median(own)}
