"""A report on Deep Defense: the 784-100-10 network on Fashion-MNIST, three kinds of training, and one chosen by us."""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.data import Pictures
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.deep_defense import choosing, figures, rows, training
from holdfast.reproduce.deep_defense.candidates import CANDIDATES
from holdfast.reproduce.deep_defense.orderings import orderings
from holdfast.reproduce.deep_defense.settings import (
    ACCURACY,
    AT,
    DEEP_DEFENSE,
    PUBLISHED,
    RHO,
    THREE,
    Settings,
)
from holdfast.reproduce.deep_defense.training import CHOSEN, WAYS
from holdfast.reproduce.part import Part, slug
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Row, Table

MAIN, READINGS, CHOICE = "test split", "test split, other readings", "validation split: what the choice goes by"
BEFORE = "validation: "


def measure(bench: Bench, settings: Settings) -> Table:
    """The choice first, from training and validation pictures; then every network, from all but the test pictures."""
    tried = choosing.candidates(bench, settings)
    chosen = choosing.best(tried)
    shown = networks.whole(
        *(networks.pictures(bench, settings.data, split, settings.limit) for split in ("train", "validation"))
    )
    test = networks.pictures(bench, settings.data, "test", settings.limit)
    seeds = [_one_seed(bench, settings, shown, test, seed, chosen, tried) for seed in bench.seeds]
    measured = {name: [one.measured[name] for one in seeds] for name in (*WAYS, CHOSEN)}
    main = {name: measured[name] for name in (*THREE, CHOSEN)}
    others = {name: some for name, some in measured.items() if name not in main}
    areas = [one.areas for one in seeds]
    found: list[Row] = [
        *rows.of_networks(main, PUBLISHED, MAIN),
        *rows.of_networks(others, {}, READINGS),
        *rows.of_areas(areas, list(main), test),
        *rows.of_networks({name: [part] for name, part in tried.items()}, {}, CHOICE, BEFORE),
    ]
    samples = rows.samples(bench, seeds[0].first, test)
    drawn = figures.plots(main, areas, samples, [one.reference for one in seeds], test.classes)
    return Table(_columns(list(main)), tuple(found), orderings(found), drawn, _notes(tried, chosen))


@dataclass(frozen=True)
class _Seed:
    """What one seed gives."""

    first: Part
    reference: Part
    measured: Mapping[str, Part]
    areas: Part


def _one_seed(
    bench: Bench,
    settings: Settings,
    shown: Pictures,
    test: Pictures,
    seed: int,
    chosen: str,
    tried: Mapping[str, Part],
) -> _Seed:
    """Train and measure all networks."""
    first = training.first(bench, settings, shown, seed)
    trained = {
        name: training.more(bench, settings, f"{slug(name)}/training", shown, way, first) for name, way in WAYS.items()
    }
    way, decided = CANDIDATES[chosen], list(tried.values())
    trained[CHOSEN] = training.more(bench, settings, "chosen/training", shown, way, first, after=decided)
    eps = rows.reference(bench, "eps_ref", trained[DEEP_DEFENSE], test)
    measured = {
        name: rows.measured(bench, f"{'chosen' if name == CHOSEN else slug(name)}/measured", part, test, eps)
        for name, part in trained.items()
    }
    main = {name: trained[name] for name in (*THREE, CHOSEN)}
    return _Seed(first, eps, measured, rows.areas(bench, first, main, test))


def _columns(names: list[str]) -> tuple[Column, ...]:
    shares = [
        Column(name, about=f"accuracy on pictures of FGSM, cut to the box, at {share:g} times eps_ref")
        for share, name in AT.items()
    ]
    areas = [Column(rows.area_of(name), "area", "class against the others, by its probability") for name in names]
    about = "mean length of DeepFool's change over that of the picture: at most 5 steps, each 1.02 times as long"
    return (Column(ACCURACY, about="on pictures as they are"), Column(RHO, "of ||x||", about), *shares, *areas)


def _notes(tried: Mapping[str, Part], chosen: str) -> tuple[str, ...]:
    gain = choosing.least_gain(tried, chosen)
    return (
        "Pictures of DeepFool are made once, against the network after its first ten epochs, and not cut to [0, 1]: "
        "so the report's algorithm has it, and cut to the box hardly one still fools the network. Adversarial training "
        "and Deep Defense train on those pictures alone, as the report words it; Deep Defense's published form, with "
        "the terms over the pictures as they are, stands among the other readings.",
        "eps_ref is that of the Deep Defense network of the same seed; on the validation split it is that split's own.",
        "Epochs 11 to 15 begin with a new optimiser, those of vanilla too. Pictures of FGSM are cut to [0, 1].",
        f"{CHOSEN.capitalize()}: {chosen}. On the validation split, with seed {next(iter(tried.values())).seed}, its "
        f"smallest ratio to a figure of Deep Defense, in either reading and of all columns, is {gain:.4f}, the largest "
        "of all candidates; test pictures had no part in it.",
    )


SETTINGS = Settings()

DEEP_DEFENSE_REPORT = Reproduction(
    name="deep-defense",
    title="Deep Defense on Fashion-MNIST",
    source="a report on Deep Defense (Deng, Zhang & Zhao 2019), its figures 3.4 to 3.9; the method: Yan, Guo & Zhang "
    "2018, arXiv:1803.00404",
    setting="784-100-10, Adam at 1e-3, batches of 64, ten epochs and five more, all 60,000 training pictures.",
    presets={"small": SETTINGS, "full": SETTINGS},
    measure=measure,
    same=("small", "full"),
    seeds=(0, 1, 2),
)
