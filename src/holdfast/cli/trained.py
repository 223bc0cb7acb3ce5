"""What is told of a training, while it goes on and when it is done."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import common
from holdfast.cli.screen import Screen, duration

if TYPE_CHECKING:
    from holdfast.threats import AnyThreat
    from holdfast.train import Epoch, Plan, Trained


def tell(screen: Screen, epoch: "Epoch", of: int, who: str = "") -> None:
    """One epoch as a line, and what went wrong in it as one line each."""
    screen.note(who + epoch_line(epoch, of))
    for note in epoch.notes:
        screen.note(f"warning: {note}")


def epoch_line(epoch: "Epoch", of: int) -> str:
    """One epoch as a line."""
    text = f"epoch {epoch.number} of {of}: loss {epoch.loss:.3f}, training {common.percent(epoch.train.rate)}"
    if epoch.validation is not None:
        text += f", validation {common.percent(epoch.validation.rate)}"
    if epoch.robust is not None:
        text += f", under attack {common.percent(epoch.robust.rate)}"
    return text


def kept(trained: "Trained", planned: "Plan") -> "Epoch":
    """The epoch whose weights the model has."""
    from holdfast.train.history import best_of

    return best_of(trained.history, planned.recipe.options.watch)


def plain(trained: "Trained", planned: "Plan", page: Path | None) -> dict[str, Any]:
    """For --json."""
    from holdfast.evaluate import Rate
    from holdfast.options import to_plain

    best = kept(trained, planned)
    rates = {
        name: None if count is None else Rate(*count).to_plain()
        for name, count in (("validation", best.validation), ("robust", best.robust))
    }
    return {
        "run": str(trained.folder),
        "report": None if page is None else str(page),
        **rates,
        "seconds": trained.seconds,
        "history": [epoch.plain() for epoch in trained.history],
        "card": to_plain(trained.card),
    }


def threat_flags(threat: "AnyThreat") -> str:
    """What names the threat of training again."""
    from holdfast.options import to_plain
    from holdfast.threats import OWN, build

    usual = build(threat.name, eps=0.0)
    named = [] if threat.name == "linf" else ["--threat", threat.name]
    own = {name: value for name, value in to_plain(threat).items() if value != getattr(usual, name)}
    further = [
        word for name, value in own.items() if name not in OWN for word in ("--threat-set", f"{name}={written(value)}")
    ]
    box = [word for name in ("low", "high") if name in own for word in (f"--{name}", written(own[name]))]
    radius = f"{threat.eps:g}" if threat.eps else "0.1"  # 0 where training heeded none
    return shlex.join([*named, *further, *box, "--eps", radius])


def written(value: object) -> str:
    """A value as it is written on the command line."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def following(trained: "Trained", planned: "Plan", data_dir: Path | None) -> str:
    """The command that evaluates what was trained, on the same data and within the same threat."""
    words = ["holdfast", "evaluate", "--model", str(trained.folder), "--data", str(planned.data.name)]
    words += [] if data_dir is None else ["--data-dir", str(data_dir)]
    words += [] if planned.data.resize is None else ["--resize", str(planned.data.resize)]
    adversary = planned.recipe.adversary
    return f"{shlex.join(words)} {'--eps 8/255' if adversary is None else threat_flags(adversary.threat)}"


def shown(trained: "Trained", planned: "Plan", data_dir: Path | None, page: Path | None, *, resume: bool) -> list[str]:
    """For people."""
    from holdfast.report.words import plural

    best, epochs = kept(trained, planned), plural(len(trained.history), "epoch")
    took = f"; this call took {duration(trained.seconds)}" if resume else f" in {duration(trained.seconds)}"
    lines = [f"trained {planned.model.name} on {planned.data.name}: {epochs}{took}"]
    for name, count in (("validation", best.validation), ("under attack", best.robust)):
        if count is not None:
            lines.append(f"{name}: {count.k} of {count.n} right ({common.percent(count.rate)})")
    return [
        *lines,
        f"model: {trained.folder}",
        *([] if page is None else [f"report: {page}"]),
        f"next: {following(trained, planned, data_dir)}",
    ]
