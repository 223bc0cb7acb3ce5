"""`make bench`: every figure with its spread and conditions, as a table on stdout and as JSON in a file."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import holdfast
from bench import attack_speed, batch_size, importing, memory
from bench.networks import EPS, network
from holdfast import data
from holdfast.errors import HoldfastError


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of every comparison")
    parser.add_argument("--pictures", type=int, default=500, help="test pictures attacked on the convolutional nets")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/result.json"))
    options = parser.parse_args()
    try:
        result = everything(options)
    except HoldfastError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def everything(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of one run."""
    training = data.load("fashion-mnist", "train", data_dir=options.data_dir)
    test = data.load("fashion-mnist", "test", data_dir=options.data_dir)
    result: dict[str, Any] = {"conditions": conditions(options), "attack": {}, "batch": {}}
    print(json.dumps(result["conditions"], indent=1))
    for name in ("mlp", "cnn", "cnn-hardened"):
        model = network(name, training, options.folder)
        count = 1000 if name == "mlp" else options.pictures
        x, y = test.x(slice(0, count)), test.labels[:count]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found = attack_speed.measure(model, x, y, options.rounds)
            result["attack"][f"{name}, {threads} thread(s)"] = found
            show_attack(f"{name}, {count} pictures, Linf {EPS}, {threads} thread(s)", found, count)
        torch.set_num_threads(1)
        result["batch"][name] = batch_size.measure(model, x, y, options.rounds)
        print(f"\nCPU time a picture by batch size, batch 250 = 1, {name}, 1 thread: {rounded(result['batch'][name])}")
    result["import_seconds"] = importing.measure(options.rounds)
    print(f"\nimport, wall seconds, median of {options.rounds}: {rounded(result['import_seconds'])}")
    scratch = tempfile.mkdtemp()
    try:
        result["memory_mib"] = memory.measure(scratch)
    finally:
        shutil.rmtree(scratch)
    print(f"\npeak memory of an evaluation above its start, MiB, by pictures: {result['memory_mib']}")
    return result


def show_attack(title: str, found: dict[str, Any], count: int) -> None:
    """One table: ratios over the limit, median and range."""
    print(f"\n{title}; limit = {found['limit']} at batch 250, {found['limit_cpu_ms_a_pass']:.2f} ms CPU a pass")
    print(f"  {'':34}{'CPU time / limit':>20}{'robust':>14}{'forward':>10}{'backward':>10}")
    for name, row in found["rows"].items():
        spread = f"{row['median']:.2f} ({row['lowest']:.2f}-{row['highest']:.2f})"
        extra = ""
        if "robust" in row:
            extra = f"{row['robust']:>8}/{count:<5}{row['passes'][0]:>10.1f}{row['passes'][1]:>10.1f}"
        print(f"  {name:34}{spread:>20}{extra}", flush=True)


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Two digits after the point."""
    return {name: round(value, 2) for name, value in values.items()}


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader has to know to run it again."""
    return {
        "command": " ".join(["python", "-m", "bench.run", *sys.argv[1:]]),
        "rounds": options.rounds,
        "clock": "CPU time of the process, interleaved rounds, ratio within each round, median (range)",
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "data": "fashion-mnist, first pictures of the test split",
    }


if __name__ == "__main__":
    sys.exit(main())
