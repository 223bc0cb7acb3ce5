"""What the scripts that measure have in common: arguments, the conditions on record, and the file of results."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import holdfast
from holdfast.errors import HoldfastError


def arguments(doc: str | None, *, rounds: int | None, out: str) -> argparse.ArgumentParser:
    """A command line with what all of them take."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds of a comparison")
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def conditions(module: str, **more: Any) -> dict[str, Any]:
    """What a reader has to know to run it again."""
    return {
        "command": " ".join(["python", "-m", module, *sys.argv[1:]]),
        "clock": "CPU time of the process, interleaved rounds, ratio within each round, median (range)",
        **more,
        "holdfast": holdfast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def opened(module: str, **more: Any) -> dict[str, Any]:
    """A result that begins with its conditions, which are told at once."""
    result = {"conditions": conditions(module, **more)}
    print(json.dumps(result["conditions"], indent=1))
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Put the result where it was asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")


def finish(options: argparse.Namespace, measure: Callable[[argparse.Namespace], dict[str, Any]]) -> int:
    """Measure and write; the exit status."""
    try:
        write(options.out, measure(options))
    except HoldfastError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
