"""`holdfast universal`: one change that fools a model on most pictures."""

import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.evaluate import Rate
    from holdfast.extract import Fitted
    from holdfast.models import Opened

DELTA, ABOUT, PICTURE = "delta.safetensors", "universal.json", "delta.png"


def command(
    model: flags.Model,
    data: flags.Data,
    eps: flags.Eps,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    threat: flags.Threat = "linf",
    low: flags.Low = 0.0,
    high: flags.High = 1.0,
    attack: Annotated[
        str,
        flags.of_attack("--attack", metavar="universal|universal-deepfool", help="How it is fitted."),
    ] = "universal",
    attack_set: flags.Set = None,
    target: flags.Target = None,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Fit one change for all pictures on the training split, and count what it fools there and on held-out pictures.

    Writes a folder with the change, exact and as a picture; `evaluate --attack universal --set delta=FILE` replays it.
    """
    from holdfast import extract, threats
    from holdfast.cli.pictures import new_folder, png, stretched
    from holdfast.files import dump_json, write_atomically

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    within = threats.build(threat, eps=given.number(eps, "--eps"), low=low, high=high)
    by = extract.build(attack, given.pairs(attack_set, "--set"))
    folder = new_folder(out or given.run_name(attack, model, data, threat, eps.replace("/", "-")))
    held_out = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    goal = common.class_of(target, held_out)
    opened = common.model_of(model, weights, model_set, held_out, device)
    some = common.training_pictures(screen, data, by.pictures, data_dir=data_dir, resize=resize)
    with screen.progress("passes over the pictures") as bar:
        tell = partial(bar.update, text=f"fitting {attack}")
        fitted = extract.fit(by, opened.model, some, within, target=goal, seed=seed, batch=batch, progress=tell)
    rates = counted(fitted, opened, held_out, batch)
    extract.save(folder / DELTA, fitted)
    drawn = len(fitted.delta) in (1, 3)
    if drawn:
        write_atomically(folder / PICTURE, png(stretched(fitted.delta[None])[0]))
    plain = described(fitted, rates, some, held_out, opened, seed)
    write_atomically(folder / ABOUT, dump_json(plain))
    wanted = "another class" if target is None else target
    screen.result(
        {"run": str(folder), **plain},
        *(f"{name}: {rate} taken for {wanted}" for name, rate in rates.items()),
        f"change: {folder / DELTA}{f', drawn in {folder / PICTURE}' if drawn else ''}",
        "next: holdfast evaluate "
        + shlex.join(["--model", model, "--data", data, "--threat", threat, "--eps", eps, "--attack", "universal"])
        + f" --set {shlex.quote(f'delta={folder / DELTA}')}",
    )


def counted(fitted: "Fitted", opened: "Opened", held_out: "Pictures", batch: int) -> "dict[str, Rate]":
    """How many pictures it fools, of those it was fitted on and of others."""
    from holdfast.evaluate import Rate
    from holdfast.extract import fooled

    found = fooled(opened.model, fitted, held_out, batch=batch)
    return {"fitted": Rate(*fitted.fooled), "held out": Rate(*found)}


def described(
    fitted: "Fitted", rates: "dict[str, Rate]", some: "Pictures", held_out: "Pictures", opened: "Opened", seed: int
) -> dict[str, Any]:
    """What universal.json holds."""
    from holdfast.evaluate import provenance
    from holdfast.options import to_plain
    from holdfast.threats import plain

    threat = fitted.threat
    assert fitted.by is not None  # it was fitted just now
    return {
        "format": 1,
        "attack": {"name": fitted.by.name, "options": to_plain(fitted.by)},
        "threat": plain(threat),
        "target": fitted.target,
        "fooled": {name.replace(" ", "_"): rate.to_plain() for name, rate in rates.items()},
        "history": list(fitted.history),
        "passes": {"forward": fitted.forward, "backward": fitted.backward},
        "model": opened.source,
        "data": {"fitted": provenance.describe_data(some), "held_out": provenance.describe_data(held_out)},
        "provenance": provenance.provenance(opened.model, some, seed, ["holdfast", *sys.argv[1:]]),
    }
