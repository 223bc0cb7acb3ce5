"""What judging a detector asks of the command line, and what of it people are told."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import given
from holdfast.cli.screen import table
from holdfast.errors import OptionError, RunError

if TYPE_CHECKING:
    from holdfast.attacks import Attack

GUARD = "guard"  # the folder of a detector that was fitted to be judged, in that of the run


def seen_before(split: str) -> list[str]:
    """What speaks against judging on a split."""
    if split == "test":
        return []
    seen = "detectors are fitted on" if split == "train" else "thresholds are from"
    return [f"{seen} {split} pictures, on which they look better than on others; --split test has others"]


def folder_of(path: Path, *, resume: bool) -> Path:
    """A new folder, or that of a run that was cut short. Raises: `RunError` for any other, and for a finished run."""
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate.detection import ARRAYS, FILE
    from holdfast.evaluate.judged_files import FOLDER

    if not resume or not path.is_dir():
        return new_folder(path)
    there = {one.name for one in path.iterdir() if one.suffix != ".part"}
    if FILE in there:
        raise RunError(
            f"{str(path)!r} is finished; allowed with --resume: a run that was cut short. See `holdfast report {path}`."
        )
    if there - {GUARD, FOLDER, ARRAYS}:
        raise RunError(f"{str(path)!r} holds no run that was cut short; allowed: such a one, or a new folder.")
    return path


def check_guarded(model: str, detector: str | None, of_fitting: Mapping[str, object]) -> None:
    """Whether there is one detector, and no flag that would do nothing. `of_fitting`: those that only fitting reads.

    Raises: `OptionError` for none or two, or such a flag beside a detector that is fitted.
    """
    from holdfast import detect

    guarded = detect.is_guard(model)
    if guarded and detector is not None:
        raise OptionError(
            f"--detector {detector} with --model {model}, which has a detector already; allowed: one of them. Leave "
            "out --detector, or name the classifier."
        )
    if not guarded and detector is None:
        what = "has no detector" if Path(model).exists() or ":" in model else "is not there"
        raise OptionError(
            f"--model {model} {what}; allowed: a folder of `detect fit`, or a classifier with --detector NAME."
        )
    idle = [flag for flag, value in of_fitting.items() if value is not None]
    if guarded and idle:
        raise OptionError(
            f"{idle[0]} with --model {model}, whose detector is fitted; allowed: with --detector NAME, which fits one. "
            "Leave it out, or fit another by `holdfast detect fit`."
        )


def attacks_of(texts: list[str]) -> "list[Attack]":
    """Attacks with their options. Raises: `OptionError` for an unknown one, one from elsewhere, or one named twice."""
    from holdfast.attacks import ATTACKS, build

    for text in texts:
        name, colon, rest = text.partition(":")
        if colon and name not in ATTACKS and "=" not in rest.partition(",")[0]:
            raise OptionError(
                f"--attack {text}; allowed: attacks of our own, which know how to attack a detector too. Take one that "
                "`holdfast list attacks` names."
            )
    return [build(name, options) for name, options in given.each_once(texts, "--attack")]


def shown(plain: Mapping[str, Any]) -> list[Any]:
    """Both columns, and what that means."""
    from holdfast.report import words
    from holdfast.report.detection import worth

    clean = plain["clean"]
    rows = [
        (
            one["attack"],
            _share(one["oblivious"]["detected"]),
            _share(one["full"]["detected"]) if one["full"] else "-",
            _size(one["oblivious"]["median_size"]),
            _share(one["adaptive"]["detected"]),
            _size(one["adaptive"]["median_size"]),
            _share(one["robust"]),
        )
        for one in plain["attacks"]
    ]
    columns = ("attack", "flagged, unaware", "with all steps", "size", "flagged, aware", "size", "robust")
    return [
        f"{plain['detector']['name']}: {_share(clean['false_alarms'])} of {words.plural(clean['n'], 'clean picture')} "
        f"refused; {_share(clean['answered_and_right'])} answered rightly",
        "",
        table(columns, rows, right=range(1, 7)),
        "",
        worth(plain),
    ]


def _share(rate: dict[str, Any] | None) -> str:
    return "-" if rate is None else f"{100 * rate['rate']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _size(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
