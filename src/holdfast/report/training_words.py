"""A recipe of training in words: rows of (name, text) for the page."""

from collections.abc import Mapping
from typing import Any

from holdfast.report import words
from holdfast.report.training_run import TrainingRun
from holdfast.train.again import grey_levels
from holdfast.train.options import TrainOptions
from holdfast.train.schedule import rising

Plain = Mapping[str, Any]
WATCHED = {"validation": "most validation pictures right", "robust": "most validation pictures right under attack"}


def part(plain: Plain) -> str:
    """A part of a recipe with its options, as `pgd(steps=7, step_size=0.25)`."""
    options = ", ".join(f"{name}={_value(value)}" for name, value in plain.items() if name != "name")
    return f"{plain['name']}({options})"


def within(threat: Plain) -> str:
    """A threat as "L∞ within 8/255"; its box where it is not [0, 1]."""
    box = (threat.get("low", 0), threat.get("high", 1))
    inside = "" if box == (0, 1) else f" in [{box[0]:g}, {box[1]:g}]"
    eps = grey_levels(threat["eps"])
    return f"{words.norm(dict(threat))} within {eps if isinstance(eps, str) else f'{eps:g}'}{inside}"


def threats(adversary: Plain | None) -> list[Plain]:
    """All threats of an adversary; none where there is none."""
    return [] if adversary is None else [adversary["threat"], *(adversary.get("further") or [])]


def all_within(adversary: Plain | None) -> str:
    """All threats of an adversary, in words."""
    return " and ".join(map(within, threats(adversary)))


def recipe(run: TrainingRun) -> dict[str, str]:
    """Everything that decided the weights, a sentence or two each."""
    about, options = run.about, run.options
    rows = {
        "Pictures": words.pictures(about["data"]),
        "Held out": words.pictures(about["validation"]) if about["validation"] else "none",
        "Model": _model(about["model"]),
        "First weights": f"given, sha256 {about['start']}" if about.get("start") else "drawn from the seed",
        "Length": f"{words.plural(options.epochs, 'epoch')}, in batches of {options.batch}",
        "Step size": schedule(options),
        "Optimiser": optimiser(options),
        "Augmentation": ", then ".join(part(one) for one in about["augment"]) or "none",
        "Mixup": "" if about["mixup"] is None else part(about["mixup"]),
        "Loss": part(about["loss"]),
        **adversary(about["adversary"], options),
        "Penalties": " + ".join(part(one) for one in about["penalties"]) or "none",
        "Weights kept": kept(options),
        "Arithmetic": arithmetic(options),
        "Seed": str(about["seed"]),
    }
    return {name: text for name, text in rows.items() if text}


def schedule(options: TrainOptions) -> str:
    """How large the steps are, over time."""
    rise, peak = rising(options), f"{options.peak:g}"
    shapes = {
        "constant": "stays there",
        "one-cycle": "falls in a straight line to 0",
        "cosine": "falls along half a wave to 0",
        "step": f"is multiplied by {options.factor:g} at {' and '.join(_share(one) for one in options.milestones)}",
        "plateau": f"is multiplied by {options.factor:g} after every {words.plural(options.stalled, 'epoch')} without "
        "a lower validation error",
    }
    start = f"grows to {peak} over the first {_share(rise)} of the training" if rise else f"begins at {peak}"
    return f"{options.schedule}: {start}, then {shapes[options.schedule]}"


def optimiser(options: TrainOptions) -> str:
    """What makes a step of a gradient."""
    pulled = "all weights" if options.decay == "all" else "all but biases and norms"
    found = f"{options.optimiser}, weight decay {options.weight_decay:g} on {pulled}"
    if options.optimiser == "sgd":
        found += f", Nesterov momentum {options.momentum:g}"
    return found if options.clip is None else f"{found}, gradients clipped at an L2 norm of {options.clip:g}"


def adversary(plain: Plain | None, options: TrainOptions) -> dict[str, str]:
    """Who the model is trained against."""
    if plain is None:
        return {"Adversary": "none: pictures are trained on as they are"}
    several = f", combined by {plain.get('combine')}" if len(threats(plain)) > 1 else ""
    share = "every picture" if options.mix == 1 else f"{_share(options.mix)} of every batch"
    grown = f"; the radius grows from 0 over the first {_share(options.warm_up)}" if options.warm_up else ""
    return {
        "Adversary": f"{part(plain['attack'])} on {share}",
        "Threat": f"{all_within(plain)}{several}{grown}",
        "Method": part(plain["method"]) if len(plain["method"]) > 1 else str(plain["method"]["name"]),
    }


def kept(options: TrainOptions) -> str:
    """Which weights are the result."""
    means = {
        "none": "",
        "ema": f", as a moving mean over the steps (decay {options.average_decay:g})",
        "swa": f", as the mean of every epoch's after {_share(options.average_from)}",
    }
    if options.watch == "none":
        return f"those after the last epoch{means[options.average]}"
    stop = (
        "" if options.patience is None else f"; stops after {words.plural(options.patience, 'epoch')} without a better"
    )
    return f"those of the epoch with {WATCHED[options.watch]}{means[options.average]}{stop}"


def arithmetic(options: TrainOptions) -> str:
    """What is unusual about how it is computed, or an empty string."""
    said = ["passes in bfloat16"] * (options.precision == "bfloat16")
    said += ["weights laid out channels last"] * options.channels_last
    said += [f"batch norm over {options.ghost} pictures at a time"] * (options.ghost is not None)
    return ", ".join(said)


def _model(card: Plain) -> str:
    shape = " × ".join(map(str, card["shape"]))
    own = {name: value for name, value in card["options"].items() if name != "sha256"}
    inside = "normalised inside the model" if card["mean"] else "not normalised"
    named = part({"name": card["architecture"], **own}) if own else card["architecture"]
    return f"{named}; {shape} values to {words.plural(len(card['classes']), 'class', 'classes')}, {inside}"


def _share(share: float) -> str:
    return f"{100 * share:g}{words.NBSP}%"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return str(value.get("file") or "…")
    return f"{value:g}" if isinstance(value, float) else str(value)
