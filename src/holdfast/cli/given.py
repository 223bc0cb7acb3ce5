"""What users write on the command line, as values."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.evaluate.speed import Use

RUNS = Path("runs")  # where runs go that nobody named
# Of each flag that takes NAME=VALUE.
EXAMPLES = {
    "--set": "steps=40",
    "--model-set": "width=2",
    "--train-set": "schedule=cosine",
    "--threat-set": "place=free",
    "--transform": "rotation=15",
    "--penalty": "tv=0.01",
    "--mixup": "alpha=1",
    "--awp": "gamma=0.005",
}


def numbers(text: str, flag: str) -> tuple[float, ...]:
    """ "2/255,4/255" or "0.1" as floats, in the order given.

    Raises: `OptionError` for anything but finite numbers and fractions with commas between.
    """
    try:
        return tuple(float(Fraction(part.replace(" ", ""))) for part in text.split(","))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise OptionError(
            f"{flag} {text!r}; allowed: numbers or fractions with commas between, such as 0.1 or 2/255,8/255."
        ) from None


def number(text: str, flag: str) -> float:
    """One number or fraction."""
    found = numbers(text, flag)
    if len(found) != 1:
        raise OptionError(f"{flag} {text!r}; allowed here: one number, such as 0.1 or 8/255.")
    return found[0]


def seeds(text: str) -> tuple[int, ...]:
    """ "0,1,2" as whole numbers. Raises: `OptionError` for anything else, or one of them twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise OptionError(f"--seeds {text!r}; allowed: whole numbers from 0 up with commas between, each once: 0,1,2.")
    return tuple(int(part) for part in parts)


def pairs(given: Sequence[str] | None, flag: str) -> dict[str, str]:
    """["steps=40", ...] as {"steps": "40", ...}. Raises: `OptionError` without an equals sign, or for a name twice."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise OptionError(f"{flag} {text!r}; allowed: NAME=VALUE, such as {flag} {EXAMPLES[flag]}.")
        if name in found:
            raise OptionError(f"{flag} {name} is given twice, as {found[name]!r} and {value!r}; allowed: once.")
        found[name] = value.strip()
    return found


def named(text: str, flag: str) -> dict[str, object]:
    """ "tv:eps=0.01,norm=l2" as {"name": "tv", "eps": "0.01", "norm": "l2"}.

    Raises: `OptionError` for another form.
    """
    name, colon, rest = text.partition(":")
    options = listed(rest)
    if not name.strip() or bool(colon) != bool(options) or not all("=" in one.strip()[1:] for one in options):
        raise OptionError(f"{flag} {text!r}; allowed: NAME or NAME:OPTION=VALUE,OPTION=VALUE.")
    return merged(options, flag, name=("NAME", name.strip()))


def each_once(texts: Sequence[str], flag: str) -> list[tuple[str, dict[str, object]]]:
    """Names with their options, as `named` reads them. Raises: `OptionError` for another form, or a name twice."""
    found = [named(text, flag) for text in texts]
    names = [str(one.pop("name")) for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise OptionError(f"{flag} {twice[0]} is given twice; allowed: each once.")
    return list(zip(names, found, strict=True))


def listed(text: str) -> list[str]:
    """What stands between commas; nothing between two of them is left out."""
    return [one for one in text.split(",") if one.strip()]


def merged(given: Sequence[str] | None, flag: str, **others: tuple[str, object]) -> dict[str, object]:
    """Options given as NAME=VALUE by `flag`, with `others` that have a flag of their own: (that flag, value or None).

    Raises: `OptionError` for one given both ways.
    """
    options = pairs(given, flag)
    said = {name: value for name, (_, value) in others.items() if value is not None}
    for name in said:
        if name in options:
            raise OptionError(f"{name} is given as {others[name][0]} and in {flag}; allowed: one of the two.")
    return {**said, **options}


def part(text: str | None) -> tuple[int, int] | None:
    """ "1/4" as (1, 4). Raises: `OptionError` for another form."""
    if text is None:
        return None
    number_, slash, of = text.partition("/")
    if not (slash and number_.strip().isdecimal() and of.strip().isdecimal()):
        raise OptionError(f"--shard {text!r}; allowed: I/N, such as 1/4 for the first of four parts.")
    return int(number_), int(of)


def stand_in(text: str) -> "Use":
    """Whether a stand-in is attacked. Raises: `OptionError` for another word."""
    for use in ("auto", "on", "off"):
        if text == use:
            return use
    raise OptionError(f"--stand-in {text!r}; allowed: auto, on, off. Leave it out for auto.")


def gate(text: str | None, part: tuple[int, int] | None) -> float | None:
    """The least robust accuracy asked for. Raises: `OptionError` unless it is in [0, 1] and of a whole run."""
    if text is None:
        return None
    refused = OptionError(f"--at-least {text!r}; allowed: a rate from 0 to 1, such as 0.45 for 45 %.")
    try:
        least = number(text, "--at-least")
    except OptionError:
        raise refused from None
    if not 0 <= least <= 1:
        raise refused
    whole("--at-least", part)
    return least


def whole(flag: str, part: tuple[int, int] | None) -> None:
    """Raise `OptionError` for a flag that judges a run, given for a part of one."""
    if part is not None:
        raise OptionError(f"{flag} with --shard; allowed: with a whole run. A part says nothing of the whole.")


def junit(path: Path | None, part: tuple[int, int] | None) -> Path | None:
    """The file for JUnit XML. Raises: `OptionError` unless it is of a whole run."""
    if path is not None:
        whole("--junit", part)
    return path


def batch_size(text: str) -> int | Literal["auto"]:
    """ "auto" or a whole number. Raises: `OptionError` for another form."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"--batch {text!r}; allowed: auto, or a whole number of pictures from 1 up, such as 256.")
    return int(text)


def size(text: str | None) -> int | tuple[int, int] | None:
    """ "32" or "32x48" (height x width). Raises: `OptionError` for another form."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if not all(side.isdecimal() for side in sides) or len(sides) > 2:
        raise OptionError(f"--resize {text!r}; allowed: a side or HEIGHTxWIDTH in pixels, such as 32 or 32x48.")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def run_name(*parts: str | None) -> Path:
    """runs/MODEL-DATA-THREAT-EPS... from what was given, for a run that nobody named."""
    return RUNS / "-".join(_readable(text) for text in parts if text)


def _readable(text: str) -> str:
    """A model, data set or folder as part of a folder's name."""
    file, _, factory = text.rpartition(":") if ".py:" in text else (text, "", "")
    stem = Path(file).stem if factory else Path(file).resolve().name if "/" in file or file in (".", "..") else file
    word = f"{stem}-{factory}" if factory else stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in word).strip("-.") or "run"
