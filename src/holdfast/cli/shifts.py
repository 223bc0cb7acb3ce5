"""The part of `holdfast evaluate` in which pictures shift: corruptions, other pictures, other shares of the classes."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast import ranks
from holdfast.cli import common
from holdfast.cli.corrupt import all_fitting, apart, chosen, severities, table_named
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.corrupt import Corruption, Table
    from holdfast.data import Pictures
    from holdfast.evaluate import Evaluation, Shifts
    from holdfast.models import Opened

BATCH = 256  # where none is named: without gradients any batch of that order is as fast
EVERY = "all"
LEVELS = "1,2,3,4,5"


@dataclass(frozen=True, kw_only=True)
class Shifting:
    """What was asked for, as far as it can be read without the pictures."""

    corruptions: "tuple[Corruption, ...] | None"  # None for all that there are
    severities: tuple[int, ...]
    table: "Table"
    stored: Path | None
    natural: tuple[str, ...]
    labels: tuple[str, ...]
    baseline: Path | None
    data_dir: Path | None
    split: str
    limit: int | None

    def run(
        self,
        screen: Screen,
        opened: "Opened",
        pictures: "Pictures",
        *,
        attack: "Evaluation | None" = None,
        batch: int | Literal["auto"],
        seed: int,
        out: Path,
        resume: bool,
        name: str,
    ) -> "Shifts":
        """Ask the model, and write everything into `out`."""
        from holdfast.evaluate import shifts
        from holdfast.evaluate.label_shift import read_label_shift

        labels = [read_label_shift(text, pictures.classes) for text in self.labels]
        natural = [self._other(screen, text, pictures) for text in self.natural]
        common.note_beginning(screen, out / "shifts" / "run.json", resume=resume)
        with screen.progress() as bar, resumable():
            return shifts(
                opened.model,
                pictures,
                self._corruptions(pictures),
                self.severities,
                table=self.table,
                stored=self.stored,
                natural=natural,
                label_shifts=labels,
                baseline=self.baseline,
                attack=attack,
                seed=seed,
                batch=BATCH if batch == "auto" else batch,
                out=out,
                resume=resume,
                progress=bar,
                name=name,
                command=["holdfast", *sys.argv[1:]],
                card=common.card_plain(opened),
            )

    def _corruptions(self, pictures: "Pictures") -> "list[Corruption]":
        if self.corruptions is None:
            return [] if self.stored is not None else all_fitting(pictures)
        return list(self.corruptions)

    def _other(self, screen: Screen, text: str, pictures: "Pictures") -> "Pictures":
        """Pictures from elsewhere, in the shape of the model's."""
        from holdfast.data import adapted

        height, width = pictures.shape[1:]
        resize = f"{height}x{width}" if Path(text).is_dir() else None
        found = common.pictures_of(screen, text, self.split, data_dir=self.data_dir, limit=self.limit, resize=resize)
        return adapted(found, pictures.shape)


def shifts_of(
    *,
    corruptions: list[str] | None,
    severity: str,
    severities_of: str,
    corrupted: Path | None,
    shifted: list[str] | None,
    label_shift: list[str] | None,
    baseline: Path | None,
    data_dir: Path | None,
    split: str,
    limit: int | None,
    part: tuple[int, int] | None,
) -> Shifting | None:
    """What shifts; None where nothing does. Raises: `OptionError` for flags that need others, or contradict them."""
    none = corruptions is None and corrupted is None
    lonely = {"--baseline": baseline is not None, "--severity": severity != LEVELS, "--table": severities_of != "auto"}
    for flag in (flag for flag, is_given in lonely.items() if is_given and none):
        raise OptionError(f"{flag} without --corruptions; allowed: with corruptions. Add --corruptions all.")
    if none and not shifted and not label_shift:
        return None
    if part is not None or ranks.size() > 1:
        raise OptionError(
            "pictures that shift in a part of a run, or in several processes; allowed: in a whole run of one process. "
            "Evaluate under shift by itself: leave --eps and --shard out."
        )
    if corrupted is not None and severities_of != "auto":
        raise OptionError("--table with --corrupted; allowed: without, since the folder has its own. Leave it out.")
    made: list[Corruption] | None = [] if none else None
    if corruptions is not None and corruptions != [EVERY]:
        named = apart(corruptions)
        if EVERY in named:
            raise OptionError(f"--corruptions {', '.join(named)}; allowed: all alone, or names. Leave the others out.")
        made = chosen(named)
    return Shifting(
        corruptions=None if made is None else tuple(made),
        severities=severities(severity),
        table=table_named(severities_of),
        stored=corrupted,
        natural=tuple(shifted or ()),
        labels=tuple(label_shift or ()),
        baseline=baseline,
        data_dir=data_dir,
        split=split,
        limit=limit,
    )


def without_attack(shifting: Shifting | None, flags: Mapping[str, Any]) -> Shifting:
    """What is done without `--eps`. Raises: `OptionError` where nothing is, or for flags of an attack."""
    if shifting is None:
        raise OptionError(
            "neither --eps nor --corruptions, --corrupted, --shifted or --label-shift; allowed: one at least. Pass "
            "--eps 8/255 to attack, --corruptions all to corrupt."
        )
    for flag in (flag for flag, value in flags.items() if value is not None):
        raise OptionError(f"{flag} without --eps; allowed: with an attack. Pass --eps 8/255, or leave {flag} out.")
    return shifting


def told(screen: Screen, made: "Shifts", page: Path | None) -> None:
    """Show an evaluation under shift alone."""
    run = None if made.run is None else str(made.run)
    plain = {"run": run, "report": None if page is None else str(page), "seconds": made.seconds}
    lines = [f"run: {run}"] + ([] if page is None else [f"report: {page}"])
    screen.result({**plain, "shifts": made.summary}, *shown(made), "", *lines)


def shown(made: "Shifts") -> list[Any]:
    """For people: as it is, by corruption, elsewhere, and in a word."""
    rows = [("as they are", *_cells(made.clean))]
    for name in dict.fromkeys(one.name for one in made.corrupted):
        own = [one.figures for one in made.corrupted if one.name == name]
        means = [sum(values) / len(own) for values in zip(*(_values(one) for one in own), strict=True)]
        rows.append((name, *_texts(*means)))
    rows += [(one.name, *_cells(one.figures)) for one in made.natural]
    for one in made.labels:
        measures = (one.accuracy, one.ece, one.nll, one.brier)
        rows.append((f"classes {one.name}", *_texts(*(measure.value for measure in measures))))
    levels = sorted({one.severity for one in made.corrupted if one.severity is not None})
    named = f"pictures (corruptions: mean of severities {', '.join(map(str, levels))})" if levels else "pictures"
    lines: list[Any] = [table((named, "accuracy", "ECE", "NLL", "Brier"), rows, right=(1, 2, 3, 4))]
    for attacked, point in zip(made.attacked, (made.summary["attack"] or {}).get("points", ()), strict=True):
        value = common.percent(attacked.ece.value)
        lines.append(f"under attack at {point['eps_text']}: ECE {value}, mean confidence {attacked.confidence:.3f}")
    return [*lines, *_errors(made)]


def _errors(made: "Shifts") -> list[str]:
    found = made.errors
    if found is None or found.mean is None:
        return []
    over = "the 15" if found.complete else f"{len(found.counted)} of the 15"
    lines = [f"mean corruption error, not normalised, over {over}: {common.percent(found.mean)}"]
    if made.summary["baseline"] is not None:
        mce, relative = ("not defined" if v is None else common.percent(v) for v in (found.mce, found.relative_mce))
        lines.append(f"mCE against {made.summary['baseline']['folder']}: {mce}; relative mCE: {relative}")
    return lines


def _cells(figures: Any) -> tuple[str, ...]:
    return _texts(*_values(figures))


def _values(figures: Any) -> tuple[float, ...]:
    return figures.accuracy.rate, figures.ece.value, figures.nll.value, figures.brier.value


def _texts(accuracy: float, ece: float, nll: float, brier: float) -> tuple[str, ...]:
    return common.percent(accuracy), common.percent(ece), f"{nll:.3f}", f"{brier:.3f}"
