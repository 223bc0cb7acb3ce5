"""The networks of the report: ten plain epochs, then five more of one kind or another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.data import Pictures
from holdfast.models import Card
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.deep_defense.candidates import Way
from holdfast.reproduce.deep_defense.measuring import deepfooled
from holdfast.reproduce.deep_defense.settings import DEEP_DEFENSE, FINE_TUNED, VANILLA, Settings
from holdfast.reproduce.part import Part
from holdfast.train import DeepDefense, Recipe, TrainOptions, card_for

UNCUT = (-10.0, 11.0)  # DeepFool's pictures leave the box by less than that, wherever a boundary is near

CLEAN_DEFENSE = "Deep Defense, clean pictures"
GENTLE_DEFENSE = "Deep Defense, clean pictures, weight 0.5"
CHOSEN = "chosen on validation"


WAYS = {
    VANILLA: Way(),
    FINE_TUNED: Way(moved=True),
    DEEP_DEFENSE: Way(penalties=(DeepDefense(),), moved=True),
    CLEAN_DEFENSE: Way(penalties=(DeepDefense(),)),
    GENTLE_DEFENSE: Way(penalties=(DeepDefense(weight=0.5),)),
}


def card_of(pictures: Pictures) -> Card:
    """784-100-10 on Fashion-MNIST, drawn as the report draws it, with nothing before it."""
    return card_for("mlp", pictures, {"init": "truncated-normal"}, normalize=False)


def recipe(settings: Settings, epochs: int, way: Way) -> Recipe:
    """Adam at 1e-3 throughout, no decay, unless the way has it otherwise."""
    plain: dict[str, Any] = {
        "epochs": epochs,
        "batch": settings.batch,
        "optimiser": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
    }
    options = TrainOptions(**{**plain, **way.options})
    return Recipe(options=options, penalties=way.penalties, adversary=way.adversary)


def first(bench: Bench, settings: Settings, pictures: Pictures, seed: int, name: str = "first") -> Part:
    """The network that all others begin with."""
    return learnt(bench, name, pictures, recipe(settings, settings.first, Way()), seed)


def more(
    bench: Bench,
    settings: Settings,
    name: str,
    pictures: Pictures,
    way: Way,
    begin: Part,
    *,
    after: Sequence[Part] = (),
) -> Part:
    """A network that goes on from the first; its optimiser begins anew."""
    made = recipe(settings, settings.more, way)
    return learnt(bench, name, pictures, made, begin.seed, begin=begin, moved=way.moved, after=after)


def learnt(
    bench: Bench,
    name: str,
    pictures: Pictures,
    recipe: Recipe,
    seed: int,
    *,
    begin: Part | None = None,
    moved: bool = False,
    after: Sequence[Part] = (),
) -> Part:
    """A part that trains: it finds the course of training, and leaves the network in its folder.

    DeepFool's pictures are made once, against the network that training begins with.
    """
    card = card_of(pictures)

    def work(folder: Path) -> Mapping[str, Any]:
        start = None if begin is None else networks.kept(bench, begin)
        shown = deepfooled(start, pictures) if moved and start is not None else pictures
        weights = None if start is None else {key: value.cpu() for key, value in start.state_dict().items()}
        box = UNCUT if moved else (0.0, 1.0)
        trained = networks.learn(bench, folder, card, shown, recipe, seed, weights=weights, box=box)
        return {"curves": networks.curves(trained), "training_seconds": trained.seconds}

    asked = networks.settings(recipe, card, pictures, moved=moved)
    return bench.part(name, asked, work, seed=seed, after=[*([begin] if begin else []), *after])
