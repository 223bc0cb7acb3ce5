"""Recalibration of 10,000 logits of 10 classes: seconds, and how far probabilities are from other libraries'.

`python -m bench.calibration` needs scikit-learn alone; rows of netcal appear where it is installed
(`pip install netcal`), which brings in gpytorch, pyro and tensorboard.
"""

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import holdfast
from holdfast import uncertainty
from holdfast.models import maps

LIMITS = {"bbq": 5.0}  # seconds; 1 for every other
CLASSES = 10


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/calibration.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    z, y = logits(options.pictures, 0)
    other, label = logits(options.pictures, 1)
    rows = {name: timed(name, z, y, options.rounds) for name in uncertainty.RECALIBRATIONS}
    gaps = {**scikit_learn(z, y, other), **errors(other, label)}
    gaps |= netcal(z, y, other, label) if find_spec("netcal") else {}
    result = {"conditions": conditions(options), "seconds": rows, "largest_difference": gaps}
    for name, row in rows.items():
        print(
            f"{name:14}{row['median']:8.3f} s ({row['lowest']:.3f} to {row['highest']:.3f}), limit {row['limit']:g} s"
        )
    for name, gap in gaps.items():
        print(f"{name:44}{gap:12.2e}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(row["median"] > row["limit"] for row in rows.values()))


def logits(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Logits that are right three times in four, and too sure."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (n,), generator=random)
    z = torch.randn(n, CLASSES, generator=random, dtype=torch.float64) + 2.2 * one_hot(y, CLASSES)
    return 5 * z, y


def timed(name: str, z: Tensor, y: Tensor, rounds: int) -> dict[str, float]:
    """Wall seconds of a fit, after one on a few that loads what it needs."""
    method = uncertainty.build(name)
    method.fit(z[:500], y[:500])
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        method.fit(z, y)
        seconds.append(time.perf_counter() - begun)
    ordered = sorted(seconds)
    return {
        "median": ordered[len(ordered) // 2],
        "lowest": ordered[0],
        "highest": ordered[-1],
        "limit": LIMITS.get(name, 1.0),
    }


def gap(ours: Tensor, theirs: Any) -> float:
    """The largest difference of probabilities."""
    return float((ours.exp() - torch.as_tensor(np.asarray(theirs), dtype=torch.float64)).abs().max())


def scikit_learn(z: Tensor, y: Tensor, other: Tensor) -> dict[str, float]:
    """Matrix scaling by its regression, isotonic and Platt by its own, one class against all others."""
    from sklearn.calibration import _SigmoidCalibration
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    ours = {name: uncertainty.build(name).fit(z, y)(other).log_softmax(1) for name in ("matrix", "isotonic", "platt")}
    matrix = LogisticRegression(C=np.inf, tol=1e-8, max_iter=2000).fit(z.numpy(), y.numpy())
    lines = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(z.softmax(1)[:, k].numpy(), (y == k).numpy())
        .predict(other.softmax(1)[:, k].numpy())
        for k in range(CLASSES)
    ]
    odds, there = maps.sigmoids.log_odds(z).numpy(), maps.sigmoids.log_odds(other).numpy()
    curves = [
        _SigmoidCalibration().fit(odds[:, k], (y == k).long().numpy()).predict(there[:, k]) for k in range(CLASSES)
    ]
    isotonic, platt = (
        maps.against_all(torch.as_tensor(np.stack(columns, 1)), torch.float64).exp() for columns in (lines, curves)
    )
    theirs = {"matrix": matrix.predict_proba(other.numpy()), "isotonic": isotonic, "platt": platt}
    return {f"{name}, scikit-learn": gap(ours[name], theirs[name]) for name in ours}


def errors(other: Tensor, label: Tensor) -> dict[str, float]:
    """NLL by scikit-learn."""
    from sklearn.metrics import log_loss

    theirs = log_loss(label.numpy(), other.softmax(1).numpy())
    return {"nll, scikit-learn": abs(uncertainty.nll(other, label) - theirs)}


def netcal(z: Tensor, y: Tensor, other: Tensor, label: Tensor) -> dict[str, float]:
    """Errors, and methods whose definition is the same; its BBQ weighs by BIC, so not that."""
    with warnings.catch_warnings(action="ignore"):
        from netcal.binning import HistogramBinning
        from netcal.metrics import ECE, MCE
        from netcal.scaling import TemperatureScaling

        p, q = z.softmax(1).numpy(), other.softmax(1).numpy()
        found = {
            "ece, netcal": abs(uncertainty.ece(other, label) - ECE(15).measure(q, label.numpy())),
            "mce, netcal": abs(uncertainty.mce(other, label) - MCE(15).measure(q, label.numpy())),
        }
        made: dict[str, tuple[str, Callable[[], Any]]] = {
            "temperature": ("temperature", TemperatureScaling),
            "histogram": ("histogram", lambda: HistogramBinning(15)),
        }
        for name, (ours, kind) in made.items():
            theirs = kind()
            theirs.fit(p, y.numpy())
            said = uncertainty.build(ours).fit(z, y)(other).log_softmax(1)
            found[f"{name}, netcal"] = gap(said, theirs.transform(q))
    return found


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader has to know to run it again."""
    return {
        "command": " ".join(["python", "-m", "bench.calibration", *sys.argv[1:]]),
        "pictures": options.pictures,
        "classes": CLASSES,
        "threads": 1,
        "clock": f"wall seconds, median of {options.rounds}",
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
