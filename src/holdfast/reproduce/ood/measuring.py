"""What each network is trained on, and how well each score tells unfamiliar pictures from familiar ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast import data, uncertainty
from holdfast.data import adapted
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.ood.settings import ACCURACY, AUPR, AUROC, FPR, SCORES, SVHN, Network, Pair, Settings
from holdfast.reproduce.part import Part
from holdfast.train import card_for


def at_hand(bench: Bench, pair: Pair) -> bool:
    """Whether the unfamiliar pictures are on this machine: SVHN is not fetched for this."""
    return pair.outside != SVHN or data.find(SVHN, bench.data_dir) is not None


def trained_and_judged(bench: Bench, settings: Settings, one: Network, pairs: Sequence[Pair]) -> list[Part]:
    """A network's training and all its pairs, each seed anew."""
    recipe = settings.recipe()
    training = networks.pictures(bench, one.data, "train", settings.pictures)
    inside = networks.pictures(bench, one.data, "test", settings.tests)
    outside = {
        pair.name: adapted(networks.pictures(bench, pair.outside, "test", settings.tests), training.shape)
        for pair in pairs
    }
    card = card_for(one.model, training)
    scores = {score.name: to_plain(score) for score in SCORES}
    asked = networks.settings(recipe, card, training, inside, *outside.values(), scores=scores, names=list(outside))

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        model = networks.learn(bench, folder, card, training, recipe, seed).model
        found: dict[str, Any] = {ACCURACY: networks.accuracy(model, inside)}
        for name, foreign in outside.items():
            judgement = uncertainty.judge(SCORES, model, fitted_on=training, inside=inside, outside=foreign)
            for judged in judgement.judged:
                found |= figures(name, judged.score.name, judged.separation)
        return found

    return bench.each_seed(one.place, asked, work)


def figures(pair: str, score: str, separation: uncertainty.separation.Separation) -> dict[str, float]:
    """What a row is read from."""
    values = {AUROC: separation.auroc, FPR: separation.fpr95, AUPR: separation.aupr_out}
    return {key(pair, score, column): estimate.value for column, estimate in values.items()}


def key(pair: str, score: str, column: str) -> str:
    """The name of a row's number in the part of its network."""
    return f"{named(pair, score)}, {column}"


def named(pair: str, score: str) -> str:
    """The row of a pair and a score."""
    return f"{pair}: {score}"
