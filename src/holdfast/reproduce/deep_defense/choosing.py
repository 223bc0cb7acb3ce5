"""Which recipe does best in the five epochs after the ten: training split to learn, validation split to choose."""

from collections.abc import Mapping

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.deep_defense import rows, training
from holdfast.reproduce.deep_defense.candidates import CANDIDATES
from holdfast.reproduce.deep_defense.settings import COLUMNS, DEEP_DEFENSE, Settings
from holdfast.reproduce.part import Part, slug

RIVALS = (DEEP_DEFENSE, training.CLEAN_DEFENSE)  # both readings are to be beaten


def candidates(bench: Bench, settings: Settings) -> dict[str, Part]:
    """What the validation split says of the rivals and of every candidate, with the first of the seeds.

    eps_ref is that of the Deep Defense network on the validation split. Test pictures are not looked at.
    """
    shown = networks.pictures(bench, settings.data, "train", settings.limit)
    held_out = networks.pictures(bench, settings.data, "validation", settings.limit)
    begin = training.first(bench, settings, shown, bench.seeds[0], "choice/first")
    ways = {
        **{name: training.WAYS[name] for name in RIVALS},
        **{name: CANDIDATES[name] for name in settings.candidates},
    }
    trained = {
        name: training.more(bench, settings, f"choice/{slug(name)}/training", shown, way, begin)
        for name, way in ways.items()
    }
    eps = rows.reference(bench, "choice/eps_ref", trained[DEEP_DEFENSE], held_out)
    return {
        name: rows.measured(bench, f"choice/{slug(name)}/measured", part, held_out, eps)
        for name, part in trained.items()
    }


def best(found: Mapping[str, Part]) -> str:
    """The candidate whose least gain over the rivals is the largest, of all columns, each as a ratio to the rival's."""
    return max((name for name in found if name not in RIVALS), key=lambda name: least_gain(found, name))


def least_gain(found: Mapping[str, Part], name: str) -> float:
    """The smallest ratio of a candidate's figure to a rival's, over columns and rivals; above 1 it beats all."""
    ratios = (found[name].found[column] / found[rival].found[column] for rival in RIVALS for column in COLUMNS)
    return float(min(ratios))
