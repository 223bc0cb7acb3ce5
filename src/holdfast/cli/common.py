"""What several commands do before their own work: find the device, load the pictures, open the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import given
from holdfast.cli.screen import Screen
from holdfast.errors import HoldfastError, OptionError, unknown

if TYPE_CHECKING:
    import torch

    from holdfast.attacks import Attack, External, Views
    from holdfast.data import Pictures
    from holdfast.models import Opened
    from holdfast.threats import AnyThreat


def device_of(text: str) -> "torch.device":
    """The device meant. Raises: `OptionError` for one that is unknown or not there."""
    import torch

    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise OptionError(f"--device {text!r}; allowed: auto, cpu, cuda, or one of several GPUs such as cuda:1.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(
            f"--device {text!r}: PyTorch sees {torch.cuda.device_count()} GPUs here; allowed: auto, cpu"
            f"{', cuda' if torch.cuda.device_count() else ''}. `holdfast doctor` shows what it sees."
        )
    return device


def use_threads(count: int | None) -> None:
    """Set the number of threads for this process, if one is given."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def note_beginning(screen: Screen, record: Path, *, resume: bool) -> None:
    """Tell those who resume a run that there is none yet. `record`: the file that a run writes first."""
    if resume and not record.exists():
        screen.note(f"note: nothing to resume in {str(record.parent)!r}; the run begins there")


def pictures_of(
    screen: Screen,
    data: str,
    split: str,
    *,
    data_dir: Path | None = None,
    limit: int | None = None,
    resize: str | None = None,
) -> "Pictures":
    """The pictures asked for; what was left out or changed on reading is told."""
    from holdfast.data import load

    shown = not (screen.quiet or screen.plain)
    found = load(data, split, data_dir=data_dir, limit=limit, resize=given.size(resize), progress=shown)
    note_reading(screen, found)
    if limit is not None and len(found) < limit:
        screen.note(f"note: {data} has {len(found)} pictures in its {split} split, fewer than --limit {limit}")
    return found


def note_reading(screen: Screen, found: "Pictures") -> None:
    """Tell what was left out or changed on reading."""
    if found.skipped:
        named = ", ".join(found.skipped[:3]) + (", ..." if len(found.skipped) > 3 else "")
        count = "1 file is not a picture" if len(found.skipped) == 1 else f"{len(found.skipped)} files are not pictures"
        screen.note(f"note: left out: {count}: {named}")
    for text in found.notes:
        screen.note(f"note: {text}")


def training_pictures(
    screen: Screen, data: str, limit: int, *, data_dir: Path | None = None, resize: str | None = None
) -> "Pictures":
    """The first `limit` pictures of the training split, or as many as there are."""
    return pictures_of(screen, data, "train", data_dir=data_dir, limit=limit, resize=resize)


def model_of(
    text: str, weights: Path | None, options: Sequence[str] | None, pictures: "Pictures", device: str
) -> "Opened":
    """The model asked for, on its device, tried on the shape of the pictures."""
    from holdfast.evaluate import open_model

    where = device_of(device)
    opened = open_model(
        text,
        weights,
        shape=pictures.shape,
        classes=len(pictures.classes),
        options=given.pairs(options, "--model-set") or None,
    )
    opened.model.to(where)
    return opened


def note_left_out(screen: Screen, left_out: Sequence[tuple[str, str]]) -> None:
    """A line a reason for (name, reason), with all that it holds for."""
    for why in dict.fromkeys(why for _, why in left_out):
        names = ", ".join(name for name, because in left_out if because == why)
        screen.note(f"note: left out: {names}: {why}")


def twin_of(text: str | None, pictures: "Pictures", device: str, flag: str = "--transfer-from") -> Any:
    """A second model, whose errors say by which flag it was named; None where none is."""
    if text is None:
        return None
    try:
        return model_of(text, None, None, pictures, device).model
    except HoldfastError as error:
        told = f"{flag} {text!r}: {error} A trained model is meant: its folder, or FILE.py:FACTORY."
        raise type(error)(told) from error


def attacks_of(
    attack: str | None,
    suite: str | None,
    options: Sequence[str] | None,
    threat: "AnyThreat",
    eot: int | None = None,
    views: "Views | None" = None,
    priced: Mapping[str, Any] | None = None,
) -> "tuple[Attack | External, ...]":
    """One attack with its options, or a suite in its form for the threat; the suite "quick" when neither is named.

    `eot`: over how many answers each question is averaged; None leaves that as the suite has it. `views`: how pictures
    vary from answer to answer. `priced`: the options of `holdfast.attacks.Penalised`.
    """
    from holdfast.evaluate import suite as suite_of

    chosen = given.pairs(options, "--set")
    if attack is None:
        if chosen:
            raise OptionError(
                f"--set {next(iter(chosen))}=... without --attack; allowed: with an attack. Add --attack pgd."
            )
        return averaging(penalised(suite_of(suite or "quick").within(threat), priced), eot, views)
    if suite is not None:
        raise OptionError(f"--attack {attack} and --suite {suite}; allowed: one of the two. Leave one out.")
    return averaging(penalised((attack_of(attack, chosen),), priced), eot, views)


def attack_of(name: str, options: Mapping[str, str]) -> "Attack | External":
    """An attack of ours by its name, or one from elsewhere as `foolbox:LinfPGD` or `FILE.py:FUNCTION`."""
    from holdfast import attacks, bridges

    return bridges.build(name, options) if bridges.is_bridge(name) else attacks.build(name, options)


def averaging(
    attacks: "tuple[Attack | External, ...]", eot: int | None, views: "Views | None" = None
) -> "tuple[Attack | External, ...]":
    """The attacks, each averaged over `eot` answers if a number is given, of `views`, or over 20 of those without one.

    Raises: `OptionError` for one from elsewhere.
    """
    from holdfast.attacks import EoT, External
    from holdfast.attacks.eot import around

    if eot is None and views is None:
        return attacks
    own = [attack for attack in attacks if not isinstance(attack, External)]
    if len(own) < len(attacks):
        given = f"--eot {eot}" if views is None else "--transform"
        raise OptionError(f"{given} with an attack from elsewhere; allowed: with attacks of our own. Leave it out.")
    return tuple(around(attack, EoT.samples if eot is None else eot, views) for attack in own)


def views_of(transform: Sequence[str] | None) -> "Views | None":
    """How pictures vary, from `--transform NAME=RANGE`; None where nothing is given."""
    from holdfast.attacks import Views
    from holdfast.options import parse

    ranges = given.pairs(transform, "--transform")
    return parse(Views, ranges) if ranges else None


def penalties(penalty: Sequence[str] | None) -> dict[str, Any] | None:
    """The options of `holdfast.attacks.Penalised`, from `--penalty NAME=VALUE`; None where nothing is given."""
    from holdfast.attacks.penalised import read_palette

    prices: dict[str, Any] = dict(given.pairs(penalty, "--penalty"))
    if unknown_names := sorted(set(prices) - {"tv", "nps", "palette"}):
        raise unknown("penalty", unknown_names[0], ("tv", "nps", "palette"))
    for name in set(prices) - {"palette"}:
        prices[name] = given.number(prices[name], f"--penalty {name}")
    if "palette" in prices:
        prices["palette"] = read_palette(prices["palette"])
    return prices or None


def penalised(
    attacks: "tuple[Attack | External, ...]", priced: Mapping[str, Any] | None
) -> "tuple[Attack | External, ...]":
    """The attacks, each with a price on patterns if there is one. Raises: `OptionError` where it has no gradient."""
    from holdfast.attacks import External, Penalised
    from holdfast.attacks.wrapper import with_inside

    if priced is None:
        return attacks
    own = [attack for attack in attacks if not isinstance(attack, External)]
    if len(own) < len(attacks):
        raise OptionError("--penalty with an attack from elsewhere; allowed: with attacks of our own. Leave it out.")
    return tuple(with_inside(attack, lambda inside: Penalised(attack=inside, **priced)) for attack in own)


def class_of(text: str | None, pictures: "Pictures") -> int | None:
    """A class by name or number. Raises: `OptionError` for one that the data do not have."""
    if text is None:
        return None
    if text in pictures.classes:
        return pictures.classes.index(text)
    if text.isdecimal() and int(text) < len(pictures.classes):
        return int(text)
    raise unknown("class", text, pictures.classes)


def card_plain(opened: "Opened") -> Mapping[str, Any] | None:
    """The card of a model folder as JSON has it."""
    from holdfast.options import to_plain

    return None if opened.card is None else to_plain(opened.card)


def percent(rate: float) -> str:
    """0.8132 as "81.3 %"."""
    return f"{100 * rate:.1f} %"
