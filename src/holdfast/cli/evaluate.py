"""`holdfast evaluate`: how accurate, how robust, and whether to believe it."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast import ranks
from holdfast.cli import common, flags, given
from holdfast.cli.elsewhere import Elsewhere
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, duration, table
from holdfast.cli.shifts import shifts_of, without_attack
from holdfast.cli.shifts import shown as shown_shifts
from holdfast.cli.shifts import told as told_shifts
from holdfast.cli.together import together

if TYPE_CHECKING:
    from holdfast.evaluate import Evaluation, Gate, Shifts


@together
def command(
    model: flags.Model,
    data: flags.Data,
    eps: Annotated[
        str | None,
        flags.of_attack(
            "--eps",
            metavar="NUMBERS",
            help="Radius or radii in pixel units, such as 8/255 or 2/255,4/255,8/255. May be left out where pictures "
            "shift.",
        ),
    ] = None,
    corruptions: Annotated[
        list[str] | None,
        flags.of_shift(
            "--corruptions",
            metavar="all|NAME[:OPTION=VALUE,...]",
            help="Corrupt the pictures: accuracy and calibration at every severity. May be repeated, see `holdfast "
            "list corruptions`; `all` are those that the pictures can have.",
        ),
    ] = None,
    severity: Annotated[
        str,
        flags.of_shift("--severity", metavar="N,N,...", help="Of corruptions, from 1, slight, to 5, heavy."),
    ] = "1,2,3,4,5",
    severities_of: Annotated[
        str,
        flags.of_shift(
            "--table",
            metavar="auto|small|imagenet",
            help="Whose severities: those of CIFAR-10-C, of ImageNet-C, or by the pictures' size.",
        ),
    ] = "auto",
    corrupted: Annotated[
        Path | None,
        flags.of_shift(
            "--corrupted",
            metavar="FOLDER",
            help="Take the pictures that `holdfast corrupt` wrote there instead, all or those of --corruptions; hashes "
            "are checked.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        flags.of_shift(
            "--baseline",
            metavar="RUN",
            help="Another model's folder of the same corruptions, for the mean corruption error (mCE).",
        ),
    ] = None,
    shifted: Annotated[
        list[str] | None,
        flags.of_shift(
            "--shifted",
            metavar="NAME|FOLDER",
            help="Other pictures of the same classes, by their names, such as photographs from elsewhere; may be "
            "repeated.",
        ),
    ] = None,
    label_shift: Annotated[
        list[str] | None,
        flags.of_shift(
            "--label-shift",
            metavar="dirichlet:ALPHA|CLASS=SHARE,...",
            help="Other shares of the classes: drawn by --seed, or those named, where the others divide the rest; may "
            "be repeated.",
        ),
    ] = None,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    threat: flags.Threat = "linf",
    threat_set: flags.ThreatSet = None,
    low: flags.Low = 0.0,
    high: flags.High = 1.0,
    suite: Annotated[
        str | None,
        flags.of_attack(
            "--suite", metavar="NAME", help="Attacks in a row, by default quick; see `holdfast list suites`."
        ),
    ] = None,
    attack: Annotated[
        str | None,
        flags.of_attack(
            "--attack",
            metavar="NAME",
            help="One attack instead; see `holdfast list attacks`. From elsewhere: foolbox:LinfPGD, FILE.py:FUNCTION.",
        ),
    ] = None,
    attack_set: flags.Set = None,
    source: flags.Source = None,
    eot: flags.EoT = None,
    transform: flags.Transform = None,
    penalty: flags.Penalty = None,
    batch: Annotated[
        str,
        flags.of_run("--batch", metavar="auto|N", help="Pictures a call of the model."),
    ] = "auto",
    seed: flags.Seed = 0,
    checks: Annotated[
        bool,
        flags.of_run("--checks/--no-checks", help="Ask whether the number can be believed."),
    ] = True,
    stand_in: Annotated[
        str,
        flags.of_run(
            "--stand-in",
            metavar="auto|on|off",
            help="Attack an equal of the model that is faster to differentiate; verified on the model all the same.",
        ),
    ] = "auto",
    transfer_from: Annotated[
        str | None,
        flags.of_run(
            "--transfer-from",
            metavar="MODEL",
            help="Another model, such as this one without its defence: a check replays its adversarial pictures.",
        ),
    ] = None,
    at_least: flags.AtLeast = None,
    junit: flags.JUnit = None,
    report: flags.Report = True,
    shard: Annotated[
        str | None,
        flags.of_run("--shard", metavar="I/N", help="Do only part I of N; `holdfast merge` joins the parts."),
    ] = None,
    shard_size: Annotated[
        int | None,
        flags.of_run(
            "--shard-size",
            min=1,
            metavar="N",
            help="Pictures a shard: what is written at once, and what processes share; by default 1000 at most.",
        ),
    ] = None,
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Attack a classifier, verify what was found, and say whether to believe the number.

    With --corruptions and other shifts: how accurate and how well calibrated it stays, with --eps or without. Writes a
    run folder with every picture's record and a report. Interrupted, it goes on with --resume.
    """
    from holdfast import threats
    from holdfast.evaluate import Gate, evaluate
    from holdfast.report import write
    from holdfast.testing.junit import write_unfinished

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    part, size = given.part(shard), given.batch_size(batch)
    shifting = shifts_of(
        corruptions=corruptions,
        severity=severity,
        severities_of=severities_of,
        corrupted=corrupted,
        shifted=shifted,
        label_shift=label_shift,
        baseline=baseline,
        data_dir=data_dir,
        split=split,
        limit=limit,
        part=part,
    )
    if eps is None:
        others: dict[str, Any] = {"--attack": attack, "--suite": suite, "--set": attack_set, "--threat-set": threat_set}
        others |= {"--source": source, "--eot": eot, "--transform": transform, "--penalty": penalty, "--shard": shard}
        others |= {"--transfer-from": transfer_from, "--at-least": at_least, "--junit": junit}
        shifting = without_attack(shifting, others)
        pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
        opened = common.model_of(model, weights, model_set, pictures, device)
        folder = out or given.run_name(model, data, "shifts")
        made = shifting.run(screen, opened, pictures, batch=size, seed=seed, out=folder, resume=resume, name=model)
        told_shifts(screen, made, write([folder]) if report else None)
        return
    radii = given.numbers(eps, "--eps")
    options = given.pairs(threat_set, "--threat-set")
    within = threats.build(threat, eps=max(radii), low=low, high=high, options=options)
    around = common.views_of(transform), common.penalties(penalty)
    elsewhere = Elsewhere(attack, suite, attack_set, within, eot, source, *around)
    least, xml, use = given.gate(at_least, part), given.junit(junit, part), given.stand_in(stand_in)
    names = (
        model,
        data,
        threat,
        eps.replace("/", "-"),
        attack or suite,
        None if source is None else f"from-{given.run_name(source).name}",
        None if part is None else f"part-{part[0]}-of-{part[1]}",
    )
    folder = out or given.run_name(*names)
    if xml is not None and folder.resolve() not in xml.resolve().parents:  # where a run begins, nothing may lie yet
        write_unfinished(xml, f"{model} on {data}")
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    opened = common.model_of(model, weights, model_set, pictures, device)
    twin = common.twin_of(transfer_from, pictures, device)
    training = partial(common.training_pictures, screen, data, data_dir=data_dir, resize=resize)
    attacks = elsewhere.made(screen, opened.model, pictures, radii, device=device, training=training, seed=seed)
    common.note_beginning(screen, folder / "run.json", resume=resume)
    with screen.progress() as bar, resumable():
        found = evaluate(
            opened.model,
            pictures,
            within,
            attacks,
            eps=radii,
            seed=seed,
            batch=size,
            shard_size=shard_size,
            out=folder,
            resume=resume,
            shard=part,
            checks=checks,
            stand_in=use,
            transfer_from=twin,
            progress=bar,
            name=model,
            command=["holdfast", *sys.argv[1:]],
            card=common.card_plain(opened),
        )
    if ranks.rank():  # the first of several processes shows, writes and judges
        return
    moved = None
    if shifting is not None:
        moved = shifting.run(
            screen, opened, pictures, attack=found, batch=size, seed=seed, out=folder, resume=resume, name=model
        )
    gate = None if least is None else Gate(least, checked=checks)
    judged(screen, found, gate, page=report and part is None, part=part, junit=xml, shifts=moved)


def judged(
    screen: Screen,
    found: "Evaluation",
    gate: "Gate | None",
    *,
    page: bool,
    part: tuple[int, int] | None = None,
    junit: Path | None = None,
    shifts: "Shifts | None" = None,
) -> None:
    """Write what is asked for of a finished run, show it, and raise `BelowTheGate` where it does not pass."""
    from holdfast.report import write
    from holdfast.testing.junit import write_junit

    if junit is not None:
        write_junit(found, junit, gate)
    at = write([found.run]) if page and found.run else None
    told(screen, found, page=at, part=part, junit=junit, shifts=shifts)
    if gate is not None:
        gate.check(found)


def told(
    screen: Screen,
    found: "Evaluation",
    *,
    page: Path | None,
    part: tuple[int, int] | None = None,
    junit: Path | None = None,
    shifts: "Shifts | None" = None,
) -> None:
    """Show an evaluation: the verdict first, then the numbers, the doubts and where everything is."""
    plain: dict[str, Any] = {
        **found.to_plain(),
        "eps": list(found.summary["threat"]["eps"]),
        "report": None if page is None else str(page),
        "shard": None if part is None else list(part),
        "junit": None if junit is None else str(junit),
        **({} if shifts is None else {"shifts": shifts.summary}),
    }
    shown: list[Any] = [_verdict(found, part), "", rates(found)]
    doubts = [check for check in found.checks if check.verdict in ("fail", "warn")]
    shown += [""] * bool(doubts)
    shown += [f"{c.verdict}: {c.name}: {c.evidence}. {c.advice}".replace("..", ".") for c in doubts]
    forward, backward = found.passes["forward_per_picture"], found.passes["backward_per_picture"]
    if found.summary["sought"] and found.size is not None and found.success is not None:
        shown += ["", smallest(found)]
    if (views := found.summary["curve"][-1].get("views")) is not None:
        shown += ["", looked_at(views)]
    by = found.summary["curve"][-1]["by"]
    if len(by) > 1:
        told = ", ".join(f"{row['attack']} {row['broken']}" for row in by)
        shown += ["", f"broken at the largest radius by: {told}"]
    shown += ["", f"{forward:.1f} forward and {backward:.1f} backward passes a picture, {duration(found.seconds)}"]
    if shifts is not None:
        shown += ["", *shown_shifts(shifts), ""]
    if found.run is not None:
        shown.append(f"run: {found.run}")
    if page is not None:
        shown.append(f"report: {page}")
    if junit is not None:
        shown.append(f"junit: {junit}")
    if part is not None:
        shown.append(f"next: holdfast merge PART... --out RUN, with the folders of all {part[1]} parts")
    screen.result(plain, *shown)


def _verdict(found: "Evaluation", part: tuple[int, int] | None) -> str:
    if part is not None:
        return f"Part {part[0]} of {part[1]} is done; the verdict comes with the merge."
    return f"{'Believe' if found.believe else 'Do not believe'} these numbers: {found.because}"


def rates(found: "Evaluation") -> Any:
    """Clean and robust accuracy, a row a radius."""
    threat = found.summary["threat"]["name"]
    rows = [("clean", "", found.clean)]
    rows += [("robust", f"{threat} {point.eps_text}", point.robust) for point in found.curve]
    cells = [
        (name, eps, f"{rate.k} of {rate.n}", common.percent(rate.rate), interval(rate.low, rate.high))
        for name, eps, rate in rows
    ]
    return table(("accuracy", "eps", "right", "rate", "95 % interval"), cells, right=(2, 3, 4))


def smallest(found: "Evaluation") -> str:
    """How large a change breaks a picture, in a line."""
    assert found.size is not None  # both are there where any picture was right
    assert found.success is not None
    low, middle, high = (f"{found.size[name]:.4g}" for name in ("q25", "median", "q75"))
    count = f"{found.success.k} of {found.success.n} pictures that were right"
    return (
        f"smallest change: median {middle}, middle half {low} to {high} in {found.summary['threat']['name']}; {count}"
    )


def looked_at(views: dict[str, Any]) -> str:
    """At how many random views the broken pictures are broken too, in a line."""
    if not views["pictures"]:
        return "no picture was broken, so none was looked at in other views"
    return (
        f"of {views['looks']} random views of each broken picture, {common.percent(views['after'])} are misclassified "
        f"too; of the same views of their originals, {common.percent(views['before'])}"
    )


def interval(low: float, high: float) -> str:
    """Both ends in percent."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"
