"""Training by a recipe: ordinary or against the library's own attacks; it repeats itself and can be resumed."""

from holdfast.train.adversary import Adversary
from holdfast.train.again import recipe_of
from holdfast.train.awp import AWP
from holdfast.train.ensembles import Members, join_runs, train_ensemble
from holdfast.train.history import Count, Epoch
from holdfast.train.inner import INNER, inner_attack
from holdfast.train.loggers import LOGGERS, Logger, MLflow, TensorBoard, logger
from holdfast.train.loss import LOSSES, CrossEntropy, Hinge, Loss
from holdfast.train.methods import MART, METHODS, TRADES, Free, Hardened, Method
from holdfast.train.nfgsm import NFGSM
from holdfast.train.options import TrainOptions
from holdfast.train.penalties import PENALTIES, Consistency, DeepDefense, GradAlign, Lipschitz, Penalty, TotalVariation
from holdfast.train.plan import DataChoice, ModelChoice, Plan
from holdfast.train.recipe import Recipe
from holdfast.train.recipe_file import file_text, read_recipe, shipped
from holdfast.train.recipe_file import text_of as recipe_text
from holdfast.train.slopes import Slopes, slopes_of
from holdfast.train.start import card_for, statistics
from holdfast.train.step import Step
from holdfast.train.trainer import Trained, train

__all__ = [
    "AWP",
    "INNER",
    "LOGGERS",
    "LOSSES",
    "MART",
    "METHODS",
    "NFGSM",
    "PENALTIES",
    "TRADES",
    "Adversary",
    "Consistency",
    "Count",
    "CrossEntropy",
    "DataChoice",
    "DeepDefense",
    "Epoch",
    "Free",
    "GradAlign",
    "Hardened",
    "Hinge",
    "Lipschitz",
    "Logger",
    "Loss",
    "MLflow",
    "Members",
    "Method",
    "ModelChoice",
    "Penalty",
    "Plan",
    "Recipe",
    "Slopes",
    "Step",
    "TensorBoard",
    "TotalVariation",
    "TrainOptions",
    "Trained",
    "card_for",
    "file_text",
    "inner_attack",
    "join_runs",
    "logger",
    "read_recipe",
    "recipe_of",
    "recipe_text",
    "shipped",
    "slopes_of",
    "statistics",
    "train",
    "train_ensemble",
]
