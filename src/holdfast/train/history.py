"""What is known after each epoch, as one JSON line."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from holdfast.errors import RunError


class Count(NamedTuple):
    """`k` right answers of `n`."""

    k: int
    n: int

    @property
    def rate(self) -> float:
        """k / n."""
        return self.k / self.n

    def plain(self) -> dict[str, int]:
        """As JSON has it."""
        return {"k": self.k, "n": self.n}


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures."""

    number: int  # from 1
    loss: float  # mean of the pictures trained on, each before its step, without penalties
    train: Count  # right answers on the pictures trained on, adversarial ones included, each before its step
    validation: Count | None  # right answers on the whole validation split
    robust: Count | None  # validation pictures that withstood an attack, of the first few
    learning_rate: float | None = None  # at the last step
    passes: tuple[float, float] | None = None  # forward and backward ones a training picture, scoring left out
    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # mean and largest, by name
    notes: tuple[str, ...] = ()  # what went wrong since the epoch before, with advice

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {name: getattr(self, name) for name in ("train", "validation", "robust")}
        return {
            **asdict(self),
            **{name: count.plain() if count else None for name, count in counts.items()},
            "passes": None if self.passes is None else list(self.passes),
            "figures": {name: list(pair) for name, pair in self.figures.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Epoch":
        """What `plain` wrote."""
        values = dict(plain)
        for name in ("train", "validation", "robust"):
            values[name] = Count(**values[name]) if values[name] else None
        if values.get("passes") is not None:
            values["passes"] = tuple(values["passes"])
        values["figures"] = {name: tuple(pair) for name, pair in values.get("figures", {}).items()}
        values["notes"] = tuple(values.get("notes", ()))
        return cls(**values)

    def watched(self, which: str) -> float | None:
        """The share right that decides the best epoch: of "validation", or "robust"."""
        count: Count | None = self.robust if which == "robust" else self.validation
        return None if count is None else count.rate


def lines(history: Sequence[Epoch]) -> bytes:
    """metrics.jsonl: one line an epoch."""
    return "".join(json.dumps(epoch.plain(), allow_nan=False) + "\n" for epoch in history).encode()


def read_lines(text: str, where: str) -> tuple[Epoch, ...]:
    """What `lines` wrote; `where` is what messages call the file. Raises: `RunError` for a line it did not write."""
    found: list[Epoch] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            epoch = Epoch.read(json.loads(line))
            _check(epoch, number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{where!r} is damaged in line {number} ({error!r}). Bring the file back; a run that is not finished "
                "writes it anew when it goes on with --resume."
            ) from error
        found.append(epoch)
    return tuple(found)


def _check(epoch: Epoch, number: int) -> None:
    """Raise `ValueError` for an epoch that is not that number, and for what is no number or no count."""
    if epoch.number != number:
        raise ValueError(f"epoch {epoch.number!r} in the place of epoch {number}")
    values = [epoch.loss, epoch.learning_rate or 0.0, *(epoch.passes or ()), *sum(epoch.figures.values(), ())]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError("a value is no finite number")
    for count in (epoch.train, epoch.validation, epoch.robust):
        if count is not None and not (0 <= count.k <= count.n and count.n):
            raise ValueError(f"{count.k!r} right of {count.n!r}")


def best_of(history: Sequence[Epoch], which: str) -> Epoch:
    """The first epoch with the largest share right; the last one where nothing is watched."""
    if which == "none":
        return history[-1]
    return max(history, key=lambda epoch: epoch.watched(which) or 0.0)


def stalled(history: Sequence[Epoch], which: str, patience: int | None) -> bool:
    """Whether as many epochs in a row as `patience` were no better than the best one."""
    if patience is None or which == "none" or not history:
        return False
    return history[-1].number - best_of(history, which).number >= patience
