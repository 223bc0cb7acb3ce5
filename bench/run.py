"""`make bench`: every figure with its spread and conditions, as a table on stdout and as JSON in a file."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from bench import attack_speed, batch_size, importing, memory
from bench.networks import EPS, network
from bench.rounds import spread
from bench.script import arguments, finish, opened
from holdfast import data


def main() -> int:
    """Measure what is asked for."""
    parser = arguments(__doc__, rounds=5, out="runs/bench/result.json")
    parser.add_argument("--pictures", type=int, default=500, help="test pictures attacked on the convolutional nets")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    return finish(parser.parse_args(), everything)


def everything(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of one run."""
    training = data.load("fashion-mnist", "train", data_dir=options.data_dir)
    test = data.load("fashion-mnist", "test", data_dir=options.data_dir)
    result = opened("bench.run", rounds=options.rounds, data="fashion-mnist, first pictures of the test split")
    result |= {"attack": {}, "batch": {}}
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
        extra = ""
        if "robust" in row:
            extra = f"{row['robust']:>8}/{count:<5}{row['passes'][0]:>10.1f}{row['passes'][1]:>10.1f}"
        print(f"  {name:34}{spread(row):>20}{extra}", flush=True)


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Two digits after the point."""
    return {name: round(value, 2) for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
