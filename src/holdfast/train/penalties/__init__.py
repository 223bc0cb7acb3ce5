"""What is added to the loss: one penalty a file, one line here."""

from holdfast.train.step import Penalty

__all__ = ["PENALTIES", "Penalty"]

PENALTIES: dict[str, type[Penalty]] = {}
