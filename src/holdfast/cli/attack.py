"""`holdfast attack`: adversarial pictures to look at and to compute with."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from holdfast.cli import common, flags, given
from holdfast.cli.elsewhere import Elsewhere
from holdfast.cli.screen import Bar, Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.attacks import Attack, AttackResult, External
    from holdfast.data import Pictures
    from holdfast.evaluate import Verdict
    from holdfast.models import Opened
    from holdfast.threats import AnyThreat


def command(
    model: flags.Model,
    data: flags.Data,
    eps: Annotated[
        str | None,
        flags.of_attack(
            "--eps",
            metavar="NUMBER",
            help="Radius, such as 8/255. Attacks that look for the smallest change do without.",
        ),
    ] = None,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = 16,
    resize: flags.Resize = None,
    threat: flags.Threat = "linf",
    threat_set: flags.ThreatSet = None,
    low: flags.Low = 0.0,
    high: flags.High = 1.0,
    attack: Annotated[
        str,
        flags.of_attack(
            "--attack",
            metavar="NAME",
            help="See `holdfast list attacks`; or one from elsewhere, as foolbox:LinfPGD or FILE.py:FUNCTION.",
        ),
    ] = "pgd",
    attack_set: flags.Set = None,
    source: flags.Source = None,
    eot: flags.EoT = None,
    transform: flags.Transform = None,
    penalty: flags.Penalty = None,
    target: flags.Target = None,
    arrays: Annotated[
        Literal["npz", "safetensors"],
        flags.of_run("--arrays", help="Format of the file of arrays."),
    ] = "npz",
    seed: flags.Seed = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Attack a few pictures and write them, attacked and not, as PNGs and arrays.

    Every success is verified: the model is run again on the returned pictures and their change is measured anew.
    """
    from holdfast import threats
    from holdfast.cli.pictures import new_folder, write
    from holdfast.models import refused_class

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    radius = None if eps is None else given.number(eps, "--eps")
    options = given.pairs(threat_set, "--threat-set")
    within = threats.build(threat, eps=radius or 0, low=low, high=high, options=options)
    around = common.views_of(transform), common.penalties(penalty)
    elsewhere = Elsewhere(attack, None, attack_set, within, eot, source, *around)
    for one in elsewhere.attacks:
        check_radius(one, eps)
    if eps is None and not elsewhere.attacks:
        raise OptionError(f"--attack {attack} without --eps; allowed: a radius, such as --eps 8/255.")
    folder = new_folder(out or given.run_name("attack", model, data, attack, threat))
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    if eps is None:
        within = within.with_eps(threats.whole_box(within, pictures.shape))
    goal = common.class_of(target, pictures)
    opened = common.model_of(model, weights, model_set, pictures, device)
    training = partial(common.training_pictures, screen, data, data_dir=data_dir, resize=resize)
    radii = [float(within.eps)]
    (chosen,) = elsewhere.made(screen, opened.model, pictures, radii, device=device, training=training, seed=seed)
    with screen.progress("attempts") as bar:
        found, verdict = _attacked(opened, pictures, within, chosen, goal, seed, bar)
    plain = write(folder, pictures, found, verdict, arrays, within)
    broken, right = int((verdict.success & ~verdict.start_wrong).sum()), int((~verdict.start_wrong).sum())
    goal_text, where = "" if target is None else f" as {target}", _where(verdict, threat, eps)
    rows = _rows(pictures, verdict, refused_class(opened.model))
    screen.result(
        plain,
        table(
            ("picture", "label", "before", "after", "verified", "size"),
            rows,
            right=(0, 5),
        ),
        "",
        f"{broken} of {right} pictures that were not wrong before are misclassified{goal_text} {where}",
        f"pictures and arrays: {folder}",
    )


def check_radius(attack: "Attack | External", eps: str | None) -> None:
    """Raise `OptionError` unless there is a radius, or the attack needs none."""
    from holdfast.attacks.attack import minimal

    if eps is None and not minimal(attack):
        raise OptionError(f"--attack {attack.name} without --eps; allowed: a radius, such as --eps 8/255.")


def _where(verdict: "Verdict", threat: str, eps: str | None) -> str:
    """At which radius, or with how large a change."""
    if eps is not None:
        return f"at {threat} {eps}"
    broken = verdict.size[verdict.success & ~verdict.start_wrong]
    return f"with a median change of {broken.median():.4g} in {threat}" if len(broken) else "at any size"


def _attacked(
    opened: "Opened",
    pictures: "Pictures",
    threat: "AnyThreat",
    attack: "Attack | External",
    goal: int | None,
    seed: int,
    bar: Bar,
) -> "tuple[AttackResult, Verdict]":
    """Attack, then verify without trusting the attack."""
    import torch

    from holdfast import attacks
    from holdfast.access import Access
    from holdfast.access.borrow import home
    from holdfast.attacks.attack import minimal
    from holdfast.evaluate import Meter, verify
    from holdfast.evaluate.edges import measured
    from holdfast.generators import seeded

    model = opened.model
    if isinstance(attack, attacks.External) and goal is not None:
        raise OptionError(f"--target with --attack {attack.name}; allowed: with an attack of our own. Leave one out.")
    here = home(model, pictures.images)
    x, y = pictures.x().to(here), pictures.labels.to(here)
    target: Tensor | None = None if goal is None else torch.full_like(y, goal)
    at = pictures.place
    with seeded(seed, "attack", here):
        with Meter(model) as meter:
            if isinstance(attack, attacks.External):
                found = attacks.run_external(attack, model, x, y, threat, seed=seed, picture=at)
            else:
                tell = partial(bar.update, text="attacking")
                found = attacks.run(
                    attack,
                    model,
                    x,
                    y,
                    threat,
                    seed=seed,
                    target=target,
                    picture=at,
                    aim="smallest" if minimal(attack) else "first_success",
                    progress=tell,
                )
        verdict = verify(
            model,
            x,
            found.x_adv,
            y,
            **measured(threat, found.parameters),
            target=target,
            needs_gradient=attack.access >= Access.GRADIENT,
            backward=meter.backward,
            refuse_nothing=not (isinstance(attack, attacks.External) and attack.restores),
        )
    return found, verdict


def _rows(pictures: "Pictures", verdict: "Verdict", refused: int | None) -> list[tuple[object, ...]]:
    """A row a picture."""
    names = pictures.classes

    def said(prediction: int, confidence: float) -> str:
        known = names[prediction] if 0 <= prediction < len(names) else f"class {prediction}"
        known = "refused" if prediction == refused else known
        return f"{known} ({100 * confidence:.0f} %)"

    columns = zip(
        pictures.place.tolist(),
        pictures.labels.tolist(),
        verdict.prediction.tolist(),
        verdict.confidence.tolist(),
        verdict.prediction_adv.tolist(),
        verdict.confidence_adv.tolist(),
        verdict.start_wrong.tolist(),
        verdict.success.tolist(),
        verdict.size.tolist(),
    )
    return [
        (
            place,
            names[label],
            said(before, sure),
            said(after, surer),
            "wrong before" if wrong else "broken" if success else "held",
            f"{size:.4g}",
        )
        for place, label, before, sure, after, surer, wrong, success, size in columns
    ]
