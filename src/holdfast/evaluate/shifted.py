"""What a model is asked about under shift, one set of pictures after the other, and what it said of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from holdfast.access.borrow import Model, borrow, float_type, home
from holdfast.corrupt import CORRUPTIONS, Corruption, Table
from holdfast.corrupt.corruption import applied, check_severity
from holdfast.corrupt.fields import cut
from holdfast.corrupt.stored import StoredSet, read
from holdfast.data import Pictures
from holdfast.errors import DataError, OptionError, unknown
from holdfast.generators import seeded
from holdfast.uncertainty import Answered, answered

Kind = Literal["clean", "corruption", "natural"]


@dataclass(frozen=True, eq=False)
class Condition:
    """Pictures as they are, as a corruption leaves them, or as others took them."""

    kind: Kind
    name: str
    severity: int | None = None
    change: Corruption | None = None  # None where pictures are as they are stored

    @property
    def text(self) -> str:
        """For people."""
        return self.name if self.severity is None else f"{self.name} {self.severity}"


@dataclass(frozen=True, eq=False)
class Source:
    """Where the pictures of each condition come from."""

    pictures: Pictures
    natural: Mapping[str, Pictures]
    stored: StoredSet | None
    seed: int
    table: Table

    def of(self, condition: Condition) -> Pictures:
        """The pictures, before a corruption that is done on the way. Raises: as `holdfast.corrupt.stored.read`."""
        if condition.kind == "natural":
            return self.natural[condition.name]
        if condition.kind == "corruption" and condition.change is None and self.stored is not None:
            return read(self.stored.folder, condition.name, condition.severity or 0)
        return self.pictures

    def count(self, condition: Condition) -> int:
        """How many pictures."""
        return len(self.natural[condition.name] if condition.kind == "natural" else self.pictures)

    def batches(self, condition: Condition, batch: int, there: torch.device) -> Iterator[Tensor]:
        """The pictures on their way to the model. Corrupted ones are cut to bytes, as stored sets are."""
        pictures = self.of(condition)
        for start in range(0, len(pictures), batch):
            some = pictures.take(slice(start, start + batch))
            x = some.x().to(there)
            if condition.change is not None:
                made = applied(
                    condition.change, x, condition.severity or 0, seed=self.seed, place=some.place, table=self.table
                )
                x = cut(made).to(torch.uint8).float().div_(255)
            yield x


def ask(
    model: Model, source: Source, condition: Condition, *, batch: int, seed: int, tell: Callable[[int], None]
) -> dict[str, Tensor]:
    """What the model says of each picture, as `record_of` reads it; `tell` hears how many are done.

    Raises: `DataError` where logits are NaN or infinite. Cost: one forward pass a picture.
    """
    pictures = source.of(condition)
    there, dtype = home(model, pictures.images), float_type(model)
    logits: list[Tensor] = []
    done = 0
    try:
        with torch.no_grad(), borrow(model) as lent, seeded(seed, f"shift {condition.text}", there):
            for x in source.batches(condition, batch, there):
                logits.append(lent(x.to(dtype)).double().cpu())
                tell(done := done + len(x))
        said = answered(whole := torch.cat(logits), pictures.labels)
    except DataError as error:
        raise DataError(f"{condition.text}: {error}") from error
    return {
        "index": pictures.place.clone(),
        "label": pictures.labels.clone(),
        "prediction": whole.argmax(1),
        "confidence": said.confidence,
        "surprise": said.surprise,
        "distance": said.distance,
    }


def told_of(record: Mapping[str, Tensor]) -> Answered:
    """What a record holds, as the measures want it."""
    right = record["prediction"] == record["label"]
    return Answered(record["confidence"], right, record["surprise"], record["distance"])


def conditions(
    pictures: Pictures,
    corruptions: Sequence[Corruption],
    severities: Sequence[int],
    stored: StoredSet | None,
    natural: Mapping[str, Pictures],
    table: Table,
) -> list[Condition]:
    """All there is to ask: the pictures as they are, every corruption at every severity, the natural shifts.

    Raises: `OptionError` for what the pictures cannot have, what is named twice, or is not stored; `DataError` for a
    stored set of other pictures.
    """
    for what, given in (("severities", list(severities)), ("corruptions", [one.name for one in corruptions])):
        if len(set(given)) < len(given) or (what == "severities" and not given):
            raise OptionError(f"{what}={given}; allowed: one or more, each once. Name each once.")
    for severity in severities:
        check_severity(severity)
    found = [Condition("clean", "clean")]
    if stored is None:
        first = pictures.take(slice(0, 1))
        for corruption in corruptions:
            for severity in severities:  # one picture is tried, so that what cannot be done is told before the work
                applied(corruption, first.x(), severity, seed=0, place=first.place, table=table)
                found.append(Condition("corruption", corruption.name, severity, corruption))
    else:
        found += _of_stored(pictures, stored, [one.name for one in corruptions], severities)
    return [*found, *(Condition("natural", name) for name in natural)]


def by_names(other: Pictures, classes: Sequence[str]) -> Pictures:
    """The pictures of another set with the labels that its classes have by name in the model's.

    It need not have all of them; `notes` of the result name those without a picture. Raises: `DataError` for a class
    that the model does not know.
    """
    known = {name: label for label, name in enumerate(classes)}
    present = other.labels.unique().tolist()
    for label in present:
        if other.classes[label] not in known:
            raise DataError(
                f"{other.name}: {unknown('class', other.classes[label], known)} Labels go by the "
                "names of the classes: take pictures of these classes, or leave the others out."
            )
    label_of = torch.tensor([known.get(name, -1) for name in other.classes])
    lost = [name for name in classes if name not in {other.classes[label] for label in present}]
    notes = [f"no picture of {', '.join(lost[:10])}{', ...' if len(lost) > 10 else ''}"] if lost else []
    return replace(other, labels=label_of[other.labels], classes=tuple(classes), notes=(*other.notes, *notes))


def stored_corruptions(stored: StoredSet) -> dict[str, Any]:
    """Options of each corruption in a stored set."""
    return dict(stored.settings.get("corruptions", {}))


def stored_name(stored: StoredSet) -> str:
    """The folder's own name, wherever it lies."""
    return Path(stored.folder).resolve().name


def _of_stored(
    pictures: Pictures, stored: StoredSet, names: Sequence[str], severities: Sequence[int]
) -> list[Condition]:
    about = stored.settings["data"]
    if about["sha256"] != pictures.sha256():
        raise DataError(
            f"{str(stored.folder)!r} was made of {about['n']} pictures of {about['name']}, {about['split']} (sha256 "
            f"{about['sha256'][:12]}...), not of these {len(pictures)} of {pictures.name}, {pictures.split} (sha256 "
            f"{pictures.sha256()[:12]}...); allowed: the same. Name the data, --split and --limit that it was made of."
        )
    there = list(dict.fromkeys(name for name, _ in stored.pairs))
    for name in names:
        if name not in there:
            raise unknown("stored corruption", name, there)
    wanted = [(name, level) for name, level in stored.pairs if name in (names or there) and level in severities]
    if not wanted:
        held = ", ".join(str(level) for level in sorted({level for _, level in stored.pairs}))
        raise OptionError(f"severities={list(severities)}: not stored; {str(stored.folder)!r} holds {held}.")
    order = list(CORRUPTIONS)  # the folder's own is that of the alphabet
    wanted.sort(key=lambda pair: (order.index(pair[0]), pair[1]))
    return [Condition("corruption", name, level) for name, level in wanted]
