"""What is known after each epoch, as one JSON line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


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
    loss: float  # mean cross-entropy of the pictures trained on, each before its step
    train: Count  # right answers on the pictures trained on, adversarial ones included, each before its step
    validation: Count | None  # right answers on the whole validation split
    robust: Count | None  # validation pictures that withstood the attack, of the first few

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            name: Count(*value).plain() if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Epoch":
        """What `plain` wrote."""
        values: dict[str, Any] = {k: Count(**v) if isinstance(v, Mapping) else v for k, v in plain.items()}
        return cls(**values)


def lines(history: Sequence[Epoch]) -> bytes:
    """metrics.jsonl: one line an epoch."""
    return "".join(json.dumps(epoch.plain(), allow_nan=False) + "\n" for epoch in history).encode()
