"""Scores of suspicion: how little a picture is like those that a model was trained on, the larger the less.

Adding one: a file with a frozen record, a line here, a row in the test table.
"""

from collections.abc import Mapping

from holdfast.errors import unknown
from holdfast.options import parse
from holdfast.uncertainty.scores.energy import Energy
from holdfast.uncertainty.scores.entropy import Entropy
from holdfast.uncertainty.scores.gen import GEN
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head, Score
from holdfast.uncertainty.scores.mahalanobis import Mahalanobis
from holdfast.uncertainty.scores.max_logit import MaxLogit
from holdfast.uncertainty.scores.max_probability import MaxProbability
from holdfast.uncertainty.scores.mutual_information import MutualInformation
from holdfast.uncertainty.scores.nearest import Nearest
from holdfast.uncertainty.scores.react import ReAct
from holdfast.uncertainty.scores.vim import ViM

SCORES: dict[str, type[Score]] = {
    kind.name: kind
    for kind in (MaxProbability, Entropy, MaxLogit, Energy, GEN, Mahalanobis, Nearest, ViM, ReAct, MutualInformation)
}

__all__ = [
    "GEN",
    "SCORES",
    "Batch",
    "Energy",
    "Entropy",
    "Fitted",
    "Head",
    "Mahalanobis",
    "MaxLogit",
    "MaxProbability",
    "MutualInformation",
    "Nearest",
    "ReAct",
    "Score",
    "ViM",
    "score",
]


def score(name: str, options: Mapping[str, object] | None = None) -> Score:
    """A score by its name, with options as values or text, such as `score("nearest", {"k": "10"})`.

    Raises: `OptionError` for an unknown name, option or value, with the nearest known ones.
    """
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    return parse(SCORES[name], dict(options or {}))
