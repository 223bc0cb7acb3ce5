"""What is added to the loss: one penalty a file, one line here."""

from holdfast.train.penalties.consistency import Consistency
from holdfast.train.step import Penalty

__all__ = ["PENALTIES", "Consistency", "Penalty"]

PENALTIES: dict[str, type[Penalty]] = {"consistency": Consistency}
