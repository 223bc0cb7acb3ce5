"""Training by a recipe: ordinary or against the library's own attacks; it repeats itself and can be resumed."""

from holdfast.train.adversary import Adversary, inner_attack
from holdfast.train.history import Count, Epoch
from holdfast.train.loss import LOSSES, CrossEntropy, Loss
from holdfast.train.methods import METHODS, Hardened, Method
from holdfast.train.options import TrainOptions
from holdfast.train.penalties import PENALTIES, Penalty
from holdfast.train.recipe import Recipe
from holdfast.train.start import card_for, statistics
from holdfast.train.step import Step
from holdfast.train.trainer import Trained, train

__all__ = [
    "LOSSES",
    "METHODS",
    "PENALTIES",
    "Adversary",
    "Count",
    "CrossEntropy",
    "Epoch",
    "Hardened",
    "Loss",
    "Method",
    "Penalty",
    "Recipe",
    "Step",
    "TrainOptions",
    "Trained",
    "card_for",
    "inner_attack",
    "statistics",
    "train",
]
