"""What training does, as one frozen record."""

from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import OptionError
from holdfast.options import to_plain
from holdfast.train.adversary import Adversary
from holdfast.train.loss import CrossEntropy, Loss
from holdfast.train.options import TrainOptions
from holdfast.train.step import Penalty


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, given the model and the pictures.

    Raises: `OptionError` for parts that contradict each other.
    """

    options: TrainOptions = field(default_factory=TrainOptions)
    loss: Loss = field(default_factory=CrossEntropy)
    adversary: Adversary | None = None
    penalties: tuple[Penalty, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot go together."""
        if self.options.watch == "robust" and (self.adversary is None or not self.options.attacked):
            raise OptionError(
                "Recipe: watch='robust' without pictures under attack; allowed: with an adversary and attacked >= 1. "
                "Add the adversary, or pass watch=validation."
            )

    def plain(self) -> dict[str, Any]:
        """As train.json has it."""
        return {
            "options": to_plain(self.options),
            "loss": named(self.loss),
            "adversary": self.adversary.plain() if self.adversary else None,
            "penalties": [named(penalty) for penalty in self.penalties],
        }


def named(record: Any) -> dict[str, Any]:
    """Name and options of a part, ready for JSON."""
    return {"name": record.name, **to_plain(record)}
