"""What is added to the loss: one penalty a file, one line here."""

from holdfast.train.penalties.consistency import Consistency
from holdfast.train.penalties.deep_defense import DeepDefense
from holdfast.train.penalties.grad_align import GradAlign
from holdfast.train.penalties.lipschitz import Lipschitz
from holdfast.train.penalties.total_variation import TotalVariation
from holdfast.train.step import Penalty

__all__ = ["PENALTIES", "Consistency", "DeepDefense", "GradAlign", "Lipschitz", "Penalty", "TotalVariation"]

PENALTIES: dict[str, type[Penalty]] = {
    "tv": TotalVariation,
    "lipschitz": Lipschitz,
    "deep-defense": DeepDefense,
    "grad-align": GradAlign,
    "consistency": Consistency,
}
