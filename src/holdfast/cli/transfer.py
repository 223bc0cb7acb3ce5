"""`holdfast transfer`: who fools whom, a table of sources by victims."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.evaluate import Cell, Crossing


def command(
    source: Annotated[
        list[str],
        flags.of_model(
            "--source", metavar="RUN|FILE.py:FACTORY", help="A model that pictures are made on; may be repeated."
        ),
    ],
    data: flags.Data,
    eps: flags.Eps,
    victim: Annotated[
        list[str] | None,
        flags.of_model(
            "--victim",
            metavar="RUN|FILE.py:FACTORY",
            help="A model that they are shown to; may be repeated. By default all sources.",
        ),
    ] = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    threat: flags.Threat = "linf",
    threat_set: flags.ThreatSet = None,
    low: flags.Low = 0.0,
    high: flags.High = 1.0,
    attack: Annotated[
        str,
        flags.of_attack(
            "--attack", metavar="NAME", help="One of our own within a radius; see `holdfast list attacks`."
        ),
    ] = "mi-fgsm",
    attack_set: flags.Set = None,
    eot: flags.EoT = None,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Make pictures on each source, show them to each victim, and count those that fool it, verified.

    Writes a folder with transfer.json and a page, once all is done.
    """
    from holdfast import attacks, threats
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate import cross
    from holdfast.extract.through import check_attack
    from holdfast.files import dump_json, write_atomically
    from holdfast.report.crossing import FILE, write_crossing

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    options = given.pairs(threat_set, "--threat-set")
    within = threats.build(threat, eps=given.number(eps, "--eps"), low=low, high=high, options=options)
    (chosen,) = common.attacks_of(attack, None, attack_set, within, eot)
    if isinstance(chosen, attacks.External):
        raise OptionError(f"--attack {attack}; allowed: an attack of our own, which can run on a source. Take mi-fgsm.")
    check_attack(chosen)
    sources, victims = named(source, victim or source)
    folder = new_folder(out or given.run_name("transfer", data, threat, eps.replace("/", "-"), attack))
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    flag_of = {**dict.fromkeys(victims, "--victim"), **dict.fromkeys(sources, "--source")}
    models = {text: common.twin_of(text, pictures, device, flag) for text, flag in flag_of.items()}
    with screen.progress() as bar:
        found = cross(
            {name: models[text] for text, name in sources.items()},
            {name: models[text] for text, name in victims.items()},
            pictures,
            within,
            chosen,
            seed=seed,
            batch=batch,
            progress=bar,
            command=["holdfast", *sys.argv[1:]],
        )
    write_atomically(folder / FILE, dump_json(found.to_plain()))
    page = write_crossing(folder)
    plain = {"run": str(folder), "report": str(page), **found.to_plain()}
    screen.result(plain, rates(found), "", *told(found), f"table: {folder / FILE}", f"report: {page}")


def named(sources: Sequence[str], victims: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """A short name for each model, by what was given: the last part of its path; all of it where two would agree.

    Raises: `OptionError` for one given twice.
    """
    for flag, texts in (("--source", sources), ("--victim", victims)):
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            times = texts.count(twice[0])
            raise OptionError(f"{flag} {twice[0]!r} is given {times} times; allowed: once. Leave one out.")
    every = dict.fromkeys((*sources, *victims))
    short = [given.run_name(text).name for text in every]
    names = {text: name if short.count(name) == 1 else text for text, name in zip(every, short, strict=True)}
    return {text: names[text] for text in sources}, {text: names[text] for text in victims}


def rates(found: "Crossing") -> Any:
    """A row a source, a column a victim."""
    clean = [f"{found.clean[victim].k} of {found.clean[victim].n}" for victim in found.victims]
    rows: list[tuple[str, ...]] = [("right before", *clean)]
    rows += [(name, *(shown(found.cell(name, victim)) for victim in found.victims)) for name in found.sources]
    return table(("made on", *found.victims), rows, right=range(1, 1 + len(found.victims)))


def shown(cell: "Cell") -> str:
    """k of n and the share; the white box is marked."""
    if cell.success is None:
        return "none right before"
    mark = " *" if cell.white_box else ""
    return f"{cell.success.k} of {cell.success.n}, {common.percent(cell.success.rate)}{mark}"


def told(found: "Crossing") -> list[str]:
    """What the table does not say of itself."""
    lines = ["each cell: pictures that fool the victim, of those that it gets right before"]
    if any(cell.white_box for cell in found.cells):
        lines.append("* source and victim are one model: the attack in the white box")
    return lines
