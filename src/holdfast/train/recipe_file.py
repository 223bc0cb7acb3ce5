"""Recipe files: read, with the line of every problem, and those that come with the library."""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path as File
from typing import Any

from holdfast.errors import OptionError, unknown
from holdfast.train.plan import Plan, plan
from holdfast.train.problems import Path, Plain

HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""")


def shipped() -> dict[str, str]:
    """The text of every recipe that comes with the library, by name."""
    folder = resources.files("holdfast.train") / "recipes"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text() for file in files if file.name.endswith(".toml")}


def text_of(name: str) -> str:
    """The text of a shipped recipe. Raises: `OptionError` for an unknown name, with the nearest."""
    known = shipped()
    if name not in known:
        raise unknown("recipe", name, known)
    return known[name]


def file_text(path: File | str) -> str:
    """The text of a recipe file. Raises: `OptionError` when it cannot be read."""
    try:
        return File(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OptionError(
            f"recipe {str(path)!r} cannot be read ({why}); allowed: a TOML file. For a shipped one: --recipe NAME."
        ) from error


def tables(text: str, source: str) -> dict[str, Any]:
    """The nested tables of a recipe. Raises: `OptionError` for what is no TOML, with its place."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"recipe {source!r} is not TOML: {error}.") from error


def read_recipe(text: str, source: str = "recipe", over: Plain | None = None) -> Plan:
    """A plan from the text of a recipe, with the tables `over` laid over it.

    Args: `source` what messages call it. Raises: `OptionError` with all that is wrong, each with its line.
    """
    known = lines(text)

    def line(path: Path) -> int | None:
        """Of the place, or of the table that it belongs to; what was laid over the text is in no line of it."""
        if any(within(path[:end], over or {}) for end in range(len(path), 1, -1)):
            return None
        return next((known[path[:end]] for end in range(len(path), 0, -1) if path[:end] in known), None)

    return plan(overlaid(tables(text, source), over or {}), source, line)


def within(path: Path, tables: Any) -> bool:
    """Whether nested tables have something at a place."""
    for part in path:
        try:
            tables = tables[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def overlaid(below: Plain, above: Plain) -> dict[str, Any]:
    """Nested tables with others laid over them; where another name is given, the options of the old one are gone.

    >>> overlaid({"loss": {"name": "a", "x": 1}}, {"loss": {"name": "b"}})
    {'loss': {'name': 'b'}}
    """
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            another = "name" in value and "name" in old and value["name"] != old["name"]
            found[name] = dict(value) if another else overlaid(old, value)
        else:
            found[name] = value
    return found


def lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key of a TOML text; of tables in a list, by their number from 0."""
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = HEADER.match(line), KEY.match(line)
        if header:
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                name = header[2].strip()
                counts[name] = counts.get(name, -1) + 1
                table = (*table, counts[name])
            found[table] = number
        elif key:
            path = tuple(part.strip("\"'") for part in key[1].split("."))
            found[(*table, *path)] = number
    return found
