"""`holdfast demo`: two classifiers, one of them hardened, both attacked, side by side in one report."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags
from holdfast.cli.evaluate import interval
from holdfast.cli.screen import Screen, duration, table
from holdfast.errors import RunError, unknown

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.evaluate import Evaluation

MARK = "demo.json"  # in a folder that only demos have written to, and that the next one may replace


@dataclass(frozen=True)
class Plan:
    """What the demo does on a data set."""

    eps: tuple[float, ...]  # attacked at
    hardened_at: float  # eps of the adversarial training
    epochs: tuple[int, int]  # ordinary, hardened
    steps: int = 5  # of the attack within the training
    limit: int | None = None  # test pictures
    threads: int | None = None  # where PyTorch's choice is a bad one


PLANS = {
    # On pictures this small two threads mostly wait for each other.
    "digits": Plan(eps=(0.05, 0.1, 0.2), hardened_at=0.2, epochs=(20, 25), threads=1),
    "mnist": Plan(eps=(0.05, 0.1, 0.2), hardened_at=0.2, epochs=(2, 4), limit=1000),
    "fashion-mnist": Plan(eps=(0.02, 0.05, 0.1), hardened_at=0.1, epochs=(2, 4), limit=1000),
    "cifar-10": Plan(eps=(2 / 255, 4 / 255, 8 / 255), hardened_at=8 / 255, epochs=(4, 8), limit=1000),
    "svhn": Plan(eps=(2 / 255, 4 / 255, 8 / 255), hardened_at=8 / 255, epochs=(2, 4), limit=1000),
}


def command(
    data: Annotated[
        str,
        typer.Option("--data", "-d", metavar="NAME", help="A data set; digits needs nothing to be fetched."),
    ] = "digits",
    data_dir: flags.DataDir = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder, or that of an earlier demo.")
    ] = Path("runs/demo"),
    seed: flags.Seed = 0,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train two classifiers, attack both, and show them side by side.

    One is trained as usual, the other on adversarial pictures. Takes under a minute on two cores with `digits`.
    An earlier demo in the folder is replaced; anything else there is refused.
    """
    from time import perf_counter

    from holdfast.report import write

    begun = perf_counter()
    screen = Screen(plain=json, quiet=quiet)
    if data not in PLANS:
        raise unknown("data set of the demo", data, PLANS)
    plan = PLANS[data]
    common.use_threads(threads or plan.threads)
    training, validation, test = (
        common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit)
        for split, limit in (("train", None), ("validation", None), ("test", plan.limit))
    )
    _make_room(out, screen)
    found = {}
    for name, hardened in (("standard", False), ("hardened", True)):
        _train(screen, out / "models" / name, plan, training, validation, seed, hardened=hardened)
        found[name] = _evaluate(screen, out, name, plan, test, seed)
    page = write([out / name for name in found], out / "report.html")
    seconds = perf_counter() - begun
    screen.result(_plain(found, page, seconds), *_shown(found), "", f"{duration(seconds)}; report: {page}")


def _make_room(out: Path, screen: Screen) -> None:
    """An empty folder with the demo's mark. Raises: `RunError` rather than touch what no demo has written."""
    from holdfast.files import dump_json, write_atomically

    if out.exists() and not out.is_dir():
        raise RunError(f"{str(out)!r} is a file; allowed: a folder. Name another --out.")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise RunError(
                f"{str(out)!r} is not empty and no demo has written it; allowed: a new folder, or that of an earlier "
                "demo, which is replaced. Name another --out."
            )
        screen.note(f"replacing the earlier demo in {out}")
        for name in ("models", "standard", "hardened"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "report.html").unlink(missing_ok=True)
    write_atomically(out / MARK, dump_json({"format": 1, "made_by": "holdfast demo"}))


def _train(
    screen: Screen,
    folder: Path,
    plan: Plan,
    training: "Pictures",
    validation: "Pictures",
    seed: int,
    *,
    hardened: bool,
) -> None:
    """A small net, ordinary or hardened, into its folder."""
    from holdfast.threats import Linf
    from holdfast.train import Adversary, Recipe, TrainOptions, card_for, inner_attack, train

    options = TrainOptions(epochs=plan.epochs[hardened], attacked=0)
    attack = inner_attack("pgd", {"steps": str(plan.steps), "step_size": "0.3"})
    adversary = Adversary(attack, Linf(eps=plan.hardened_at)) if hardened else None
    with screen.progress() as bar:
        train(
            card_for("cnn", training),
            training,
            recipe=Recipe(options=options, adversary=adversary),
            validation=validation,
            seed=seed,
            out=folder,
            command=["holdfast", *sys.argv[1:]],
            progress=lambda done, total: bar.update(done, total, f"training {folder.name}"),
        )


def _evaluate(screen: Screen, out: Path, name: str, plan: Plan, test: "Pictures", seed: int) -> "Evaluation":
    """One of the two models, from its folder, under attack."""
    from holdfast.evaluate import evaluate, open_model
    from holdfast.threats import Linf

    opened = open_model(str(out / "models" / name), shape=test.shape, classes=len(test.classes))
    with screen.progress() as bar:
        return evaluate(
            opened.model,
            test,
            Linf(eps=max(plan.eps)),
            eps=plan.eps,
            seed=seed,
            out=out / name,
            progress=bar,
            name=name,
            command=["holdfast", *sys.argv[1:]],
            card=common.card_plain(opened),
        )


def _plain(found: "dict[str, Evaluation]", page: Path, seconds: float) -> dict[str, Any]:
    runs = {name: one.to_plain() for name, one in found.items()}
    return {"runs": runs, "report": str(page), "seconds": seconds}


def _shown(found: "dict[str, Evaluation]") -> list[Any]:
    """The verdicts, then both models' rates side by side."""
    lines: list[Any] = [
        f"{name}: {'believe' if one.believe else 'do not believe'} these numbers: {one.because}"
        for name, one in found.items()
    ]
    first = next(iter(found.values()))
    accuracies = ["clean", *(f"robust at linf {point.eps_text}" for point in first.curve)]
    columns = [[one.clean, *(point.robust for point in one.curve)] for one in found.values()]
    rows = [
        (name, *(f"{common.percent(rate.rate)} ({interval(rate.low, rate.high)})" for rate in rates))
        for name, rates in zip(accuracies, zip(*columns))
    ]
    n = first.clean.n
    head = table((f"of {n:,} test pictures", *found), rows, right=range(1, len(found) + 1))
    return [*lines, "", head]
