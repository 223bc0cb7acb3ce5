"""What a reproduction works at: its folder, seeds, data and device, and the one way to have numbers of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from holdfast.errors import OptionError
from holdfast.reproduce.part import Part, finished

Found = TypeVar("Found")
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done), in units of the work's choice."""


def no_progress(done: int, total: int, text: str) -> None:
    """Tell nobody."""


def no_note(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Bench:
    """Handed to a reproduction; `part` and `each_seed` do its work in run folders and give back what those hold."""

    out: Path
    seeds: tuple[int, ...]
    asked: Mapping[str, Any]  # name, preset, versions, device: part of what every part was asked for
    data_dir: Path | None = None
    device: str = "cpu"
    resume: bool = False
    command: tuple[str, ...] = ()
    progress: Progress = no_progress
    note: Callable[[str], None] = no_note  # a line for people
    parts: list[Part] = field(default_factory=list)  # what was finished so far, in order

    def part(
        self,
        name: str,
        settings: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
        *,
        seed: int = 0,
        after: Sequence[Part] = (),
    ) -> Part:
        """Work done once in the folder parts/NAME/seed-SEED, or kept from an earlier call that asked for the same.

        Args: `name` may have slashes; `settings` everything of it that decides the outcome, hashes of data included,
        as JSON can hold it (`holdfast.options.to_plain` of a record); `work` gets the folder, into which it may train
        with `resume=True`, and returns what it found by name: numbers for the table and what plots need; `after` parts
        whose outcome it goes by.
        Raises: `OptionError` for a name used twice; as `holdfast.reproduce.part.finished`.
        """
        place = f"parts/{name}/seed-{seed}"
        if any(part.place == place for part in self.parts):
            raise OptionError(f"part {name!r} of seed {seed} twice; allowed: each name once a seed. Name them apart.")
        marks = {part.place: part.mark for part in after}
        asked = {**self.asked, "name": name, "seed": seed, "settings": dict(settings), "after": marks}
        done = finished(self.out, place, asked, work, resume=self.resume)
        self.parts.append(done)
        self.note(f"{name}, seed {seed}: {'kept from an earlier start' if done.kept else f'{done.seconds:.1f} s'}")
        return done

    def each_seed(
        self, name: str, settings: Mapping[str, Any], work: Callable[[int, Path], Mapping[str, Any]]
    ) -> list[Part]:
        """A part for every seed, as `row` wants them; `work` gets seed and folder."""

        def of(seed: int) -> Callable[[Path], Mapping[str, Any]]:
            return lambda folder: work(seed, folder)

        return [self.part(name, settings, of(seed), seed=seed) for seed in self.seeds]

    def in_turn(self, works: Mapping[str, Callable[[], Found]]) -> dict[str, Found]:
        """One work after the other, each announced by its name: what they come to, by name."""
        found = {}
        for number, (name, work) in enumerate(works.items()):
            self.progress(number, len(works), name)
            found[name] = work()
        return found
