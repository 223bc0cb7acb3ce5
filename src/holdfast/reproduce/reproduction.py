"""What makes a reproduction: a name, where it comes from, two presets, and a function from a bench to a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from holdfast.errors import OptionError, unknown
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.table import Table

Settings = TypeVar("Settings")
Preset = Literal["small", "full"]


@dataclass(frozen=True, kw_only=True)
class Reproduction(Generic[Settings]):
    """A source's table, made anew by one function.

    Args: `presets` a frozen record of options for each preset, "small" among them; `measure` does the work, every
    number by `Bench.part`; `setting` says in one sentence under what setting the published figures came about, and
    `same` which presets are that very setting; `stands_for` heads the column of published figures; `on_cpu` for what
    is too small to go anywhere else; `seeds` what is asked for where nothing else is said.
    Raises: `OptionError` without a preset called "small", or with one of another name than "small" and "full".
    """

    name: str
    title: str
    source: str
    setting: str
    presets: Mapping[Preset, Settings]
    measure: Callable[[Bench, Settings], Table]
    same: tuple[Preset, ...] = ()
    stands_for: str = "published"
    on_cpu: bool = False
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if "small" not in self.presets or not set(self.presets) <= {"small", "full"}:
            raise OptionError(f"{self.name}: presets {list(self.presets)}; allowed: small, and full beside it.")

    def settings(self, preset: str) -> tuple[Preset, Settings]:
        """A preset by its name. Raises: `OptionError` for an unknown one, with the known ones."""
        for name, settings in self.presets.items():
            if name == preset:
                return name, settings
        raise unknown(f"preset of {self.name}", preset, self.presets)

    def notice(self, preset: str) -> str:
        """What must be said of the preset beside the published figures."""
        if preset in self.same:
            return f"{preset} preset, which is the setting of the figures called {self.stands_for}: {self.setting}"
        return f"{preset} preset; the figures called {self.stands_for} come from another setting: {self.setting}"
