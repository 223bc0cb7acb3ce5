"""After the pages were built: has every public name its place in the reference? `python docs/complete.py SITE`."""

import importlib
import pkgutil
import sys
import zlib
from pathlib import Path

import holdfast

NOT_FROM_PYTHON = {"holdfast.cli", "holdfast.__main__"}  # the page of the command line describes it


def described(site: Path) -> set[str]:
    """The names in the inventory of a built site."""
    compressed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(compressed).decode().splitlines()}


def public() -> set[str]:
    """The names that packages list in `__all__`, with the package they are imported from."""
    packages = {name for _, name, _ in pkgutil.iter_modules(holdfast.__path__, "holdfast.")} - NOT_FROM_PYTHON
    return {f"{name}.{each}" for name in packages for each in getattr(importlib.import_module(name), "__all__", ())}


def places(name: str) -> set[str]:
    """How the reference may call it: a function with the name of its own file is found there."""
    return {name, f"{name}.{name.rpartition('.')[2]}"}


if __name__ == "__main__":
    known = described(Path(sys.argv[1]))
    missing = sorted(name for name in public() if not places(name) & known)
    if missing:
        sys.exit(f"not in the reference: {', '.join(missing)}. Add them to a page in docs/reference, with a docstring.")
