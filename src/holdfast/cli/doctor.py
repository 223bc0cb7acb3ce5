"""`holdfast doctor`: what is installed, where it computes, and which data are here."""

import os
import platform
from pathlib import Path
from typing import Any

from holdfast.cli import flags
from holdfast.cli.screen import Screen, table

PACKAGES = ("holdfast", "torch", "numpy", "scipy", "scikit-learn", "safetensors", "pillow", "pooch", "typer", "rich")


def command(data_dir: flags.DataDir = None, json: flags.Json = False, quiet: flags.Quiet = False) -> None:
    """Show versions, devices, threads and the data sets found."""
    screen = Screen(plain=json, quiet=quiet)
    found = _found(data_dir)
    rows = [("Python", found["python"]), *found["packages"].items()]
    rows += [("platform", found["platform"]), ("processor", f"{found['threads']} threads of {found['cores']} cores")]
    rows += [("GPU", ", ".join(found["gpus"]) or "none that PyTorch sees")]
    rows += [("HOLDFAST_DATA", found["holdfast_data"] or "not set")]
    rows += [("problem", problem) for problem in found["problems"]]
    sets = [(name, place or "not here; fetched when first used") for name, place in found["data"].items()]
    screen.result(found, table(("what", "found"), rows), "", table(("data set", "found in"), sets))


def _found(data_dir: Path | None) -> dict[str, Any]:
    import torch

    from holdfast.data import status
    from holdfast.errors import DataError

    problems: list[str] = []
    places: dict[str, str | None] = {}
    try:
        places = {known.name: str(known.path) if known.path else None for known in status(data_dir)}
    except DataError as error:
        problems.append(str(error))
    versions = {name: _version(name) for name in PACKAGES}
    problems += [f"{name} is not installed" for name, found in versions.items() if found == "not installed"]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "holdfast_data": os.environ.get("HOLDFAST_DATA"),
        "data": places,
        "problems": problems,
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        if package == "holdfast":
            from holdfast import __version__

            return f"{__version__} (from source, not installed)"
        return "not installed"
