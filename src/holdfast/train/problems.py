"""All that is wrong with nested tables, collected with the places it was found at."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from holdfast.errors import HoldfastError, unknown
from holdfast.options import parse, read

Plain = Mapping[str, Any]
Path = tuple[str | int, ...]


class Problems:
    """What is wrong, each with the place it was found at."""

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []

    def add(self, path: Path, text: str) -> None:
        """Take one in."""
        self.found.append((path, text))

    def attempt(self, path: Path, make: Callable[[], Any]) -> Any:
        """What `make` returns; None where it finds something wrong, which is taken in."""
        try:
            return make()
        except HoldfastError as error:
            self.add(path, str(error))
            return None

    def options(self, path: Path, kind: type[Any], given: Plain) -> dict[str, Any]:
        """The values of a record's options, without those that are unknown or of the wrong type."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            values.update(self.attempt((*path, name), partial(read, kind, {name: value})) or {})
        return values

    def record(self, path: Path, kind: type[Any], given: Plain) -> Any:
        """A record of these options; None where something is wrong with them.

        What the record itself refuses is left out in turn, so that all of it is found.
        """
        before, values = len(self.found), self.options(path, kind, given)
        while True:
            try:
                made = parse(kind, values)
                return made if len(self.found) == before else None
            except HoldfastError as error:
                blamed = next((name for name in values if f"{name}=" in str(error)), None)
                self.add(path if blamed is None else (*path, blamed), str(error))
                if blamed is None:
                    return None
                del values[blamed]

    def table(self, path: Path, given: Any) -> dict[str, Any]:
        """A table; an empty one where something else stands in its place."""
        if isinstance(given, Mapping):
            return dict(given)
        self.add(path, f"{shown(path)}={given!r}; allowed: a table, [{shown(path)}].")
        return {}

    def named(self, path: Path, given: Any, what: str, family: Mapping[str, type[Any]]) -> Any:
        """One of a family, by its `name`, with its options."""
        table = self.table(path, given)
        kind = self.member(path, table, what, family)
        return None if kind is None else self.record(path, kind, table)

    def member(self, path: Path, table: dict[str, Any], what: str, family: Mapping[str, Any]) -> Any:
        """The member of a family that a table names; its name is taken out of the table."""
        name = table.pop("name", None)
        if name is None:
            self.add(path, f"{shown(path)} has no name; allowed: {', '.join(family)}. Add name=...")
            return None
        if name not in family:
            self.add((*path, "name"), str(unknown(what, str(name), family)))
            return None
        return family[name]


def shown(path: Path) -> str:
    """A place in the file, as its own keys have it."""
    return ".".join(str(part) for part in path if isinstance(part, str))
