"""Training: one plain loop, ordinary or against the library's own attacks, that repeats itself and can be resumed."""

from holdfast.train.adversary import Adversary, inner_attack
from holdfast.train.history import Count, Epoch
from holdfast.train.options import TrainOptions
from holdfast.train.start import card_for, statistics
from holdfast.train.trainer import Trained, train

__all__ = ["Adversary", "Count", "Epoch", "TrainOptions", "Trained", "card_for", "inner_attack", "statistics", "train"]
