"""The page of training runs: scores, curves, recipe, cost, provenance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.drawing import marks
from holdfast.evaluate.statistics import Rate
from holdfast.report import compare, origins, training_words, words
from holdfast.report.learner import Learner, learners
from holdfast.report.page import environment
from holdfast.report.progress import Line, progress
from holdfast.report.scale import Scale, fitting, percent
from holdfast.report.training_run import TrainingRun, read_training
from holdfast.train import Count, Epoch

SECTIONS = {
    "scores": "Scores",
    "curves": "Curves",
    "epochs": "Epochs",
    "recipe": "Recipe",
    "cost": "Cost",
    "provenance": "Provenance",
    "repeat": "Repeat",
    "words": "Words",
}
COUNTS = {"validation": ("validation", 1), "robust": ("under attack", 0), "train": ("training", 5)}  # name, style


@dataclass(frozen=True)
class Drawn:
    """A figure with its heading and legend: (mark, name, text) rows."""

    title: str
    svg: str
    legend: tuple[tuple[str, str, str], ...]
    about: str


def page(folders: Sequence[Path]) -> str:
    """The whole document, as HTML text. Raises: `RunError` for a folder that cannot be read."""
    return environment().get_template("page.html.j2").render(context(read_training(folders)))


def context(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """Everything that the templates use, by name."""
    every = learners(runs)
    names = [one.name for one in every]
    return {
        "room": "training/",
        "sections": SECTIONS,
        "columns": every,
        "several": len(runs) > 1,
        "title": title(runs, names),
        "settings": settings(runs),
        "attacks": list(
            dict.fromkeys(
                training_words.part(run.about["adversary"]["attack"]) for run in runs if run.about["adversary"]
            )
        ),
        "notices": notices(runs, names),
        "gaps": gaps(every),
        "drawn": figures(every),
        "recipe": table([training_words.recipe(run) for run in runs]),
        "cost": cost(runs, every),
        "provenance": provenance(runs),
    }


def gaps(every: Sequence[Learner]) -> list[str]:
    """Which scores of two runs may be subtracted: those of the same pictures, and under the same attack."""
    runs = [one.run for one in every]
    if len(runs) != 2 or compare.differ([run.about["validation"] for run in runs]):
        return []
    scores = [("validation", [one.validation for one in every]), ("robust", [one.robust for one in every])]
    there = [name for name, pair in scores if all(pair)]
    return [name for name in there if name == "validation" or not compare.differ([_withstood(run) for run in runs])]


def title(runs: Sequence[TrainingRun], names: Sequence[str]) -> str:
    """The heading: "Training of cnn on digits", "Training of plain and hardened on digits"."""
    return f"Training of {compare.heading(names, [str(run.about['data']['name']) for run in runs])}"


def settings(runs: Sequence[TrainingRun]) -> list[str]:
    """What was trained on, in short texts, each once."""
    found = []
    for run in runs:
        data, adversary = run.about["data"], run.about["adversary"]
        found.append(f"{data['name']}, {data['split']} split, {words.plural(data['n'], 'picture')}")
        found.append(words.plural(len(run.history), "epoch"))
        found += map(training_words.within, training_words.threats(adversary))
    found += [f"seed {run.about['seed']}" for run in runs]
    return list(dict.fromkeys(found))


def notices(runs: Sequence[TrainingRun], names: Sequence[str]) -> list[str]:
    """Sentences that say why scores of several runs cannot be compared; empty when they can."""
    held = [run.about["validation"] for run in runs]
    found = []
    if compare.differ(held):
        texts = [words.pictures(one, one.get("sha256")) if one else "none" for one in held]
        found.append(f"The validation pictures differ: {compare.each(names, texts)}.")
    withstood = {name: text for name, run in zip(names, runs, strict=True) if (text := _withstood(run))}
    if compare.differ(list(withstood.values())):
        found.append(f"What is withstood differs: {compare.each(list(withstood), list(withstood.values()))}.")
    return found


def _withstood(run: TrainingRun) -> str:
    """What the pictures under attack withstood, and how many were attacked; an empty string where none was."""
    if run.kept is None or run.kept.robust is None:
        return ""
    judge = run.about.get("judge")
    named = training_words.part(judge) if judge else "an attack that is not on record"
    where = training_words.all_within(run.about["adversary"])
    return f"{named}, {where}, {words.plural(run.kept.robust.n, 'picture')}"


def figures(every: Sequence[Learner]) -> list[Drawn]:
    """Accuracies, loss, step size and whatever else was noted, over the epochs."""
    shown = [one for one in every if one.run.history]
    if not shown:
        return []
    drawn = [*_accuracies(shown), _one_value(shown, "Loss", lambda epoch: epoch.loss, _LOSS)]
    drawn += [_one_value(shown, "Learning rate", lambda epoch: epoch.learning_rate, _RATE)]
    names = sorted({name for one in shown for epoch in one.run.history for name in epoch.figures})
    return [one for one in [*drawn, *(_noted(shown, name) for name in names)] if one is not None]


_LOSS = "The mean over the pictures trained on, each before its step, without penalties."
_RATE = "Of the last step of each epoch."
_RIGHT = {
    "train": "Of the pictures as they were trained on, adversarial ones included, each before its step.",
    "validation": "After each epoch, on all validation pictures as they are; the band is the 95 % interval.",
    "robust": "After each epoch, on the first validation pictures; the band is the 95 % interval.",
}


def _one_value(every: Sequence[Learner], name: str, value: Callable[[Epoch], float | None], about: str) -> Drawn | None:
    """One value, a line a run."""
    lines = [_line(one, one.name, one.place, value) for one in every]
    return _drawn(every, name, [line for line in lines if line.points], about)


def _noted(every: Sequence[Learner], name: str) -> Drawn | None:
    """Mean and largest of a figure, two lines a run."""
    lines = []
    for one in every:
        both = [("mean", 0, one.place, False), ("largest", 1, one.place if len(every) > 1 else 0, True)]
        for which, at, style, dashed in both:
            label = f"{one.name}, {which}" if len(every) > 1 else which
            lines.append(_line(one, label, style, partial(_figure, name=name, at=at), dashed=dashed))
    about = "Over the pictures of each epoch: the mean, and dashed the largest."
    return _drawn(every, words.sentence(name).rstrip("."), [line for line in lines if line.points], about, decades=True)


def _figure(epoch: Epoch, *, name: str, at: int) -> float | None:
    pair = epoch.figures.get(name)
    return None if pair is None else pair[at]


def _accuracies(every: Sequence[Learner]) -> list[Drawn | None]:
    """Right answers: in one figure for a run alone, else a figure for each kind, a line a run."""
    if len(every) == 1:
        lines = [_counts(every[0], name, style, key) for key, (name, style) in COUNTS.items()]
        about = (
            "Training: as each picture was before its step. The others after each epoch, with 95 % intervals as bands."
        )
        return [_drawn(every, "Accuracy", [line for line in lines if line.points], about, percent())]
    found = []
    for key, (name, _) in COUNTS.items():
        lines = [_counts(one, one.name, one.place, key) for one in every]
        found.append(
            _drawn(every, f"Accuracy, {name}", [line for line in lines if line.points], _RIGHT[key], percent())
        )
    return found


def _counts(one: Learner, label: str, style: int, key: str) -> Line:
    counts: list[tuple[int, Count]] = [
        (epoch.number, count) for epoch in one.run.history if (count := getattr(epoch, key)) is not None
    ]
    rates = [(number, Rate(*count)) for number, count in counts]
    # Training pictures change with every step: no interval speaks of them.
    bands = () if key == "train" else tuple((rate.low, rate.high) for _, rate in rates)
    return Line(label, style, tuple((number, rate.rate) for number, rate in rates), bands, _kept(one))


def _line(
    one: Learner, label: str, style: int, value: Callable[[Epoch], float | None], *, dashed: bool = False
) -> Line:
    points = tuple((epoch.number, found) for epoch in one.run.history if (found := value(epoch)) is not None)
    return Line(label, style, points, kept=_kept(one), dashed=dashed)


def _kept(one: Learner) -> int | None:
    return one.run.kept.number if one.run.kept else None


def _drawn(
    every: Sequence[Learner],
    name: str,
    lines: Sequence[Line],
    about: str,
    scale: Scale | None = None,
    *,
    decades: bool = False,
) -> Drawn | None:
    """A figure of these lines, or None where there is none to draw."""
    if not lines:
        return None
    axis = scale or fitting([value for line in lines for _, value in line.points], decades=decades)
    alone = len(every) == 1
    svg = progress(lines, axis, title=name, guide=alone, resumed=every[0].run.resumed_in if alone else ())
    shown = words.percent if scale else (lambda value: f"{value:.4g}")
    legend = tuple(
        (marks.marker(line.style), line.label, shown(value))
        for line in lines
        for epoch, value in line.points
        if epoch == line.kept
    )
    return Drawn(f"{name}{axis.unit}", svg, legend, about)


def table(rows: Sequence[dict[str, str]]) -> list[origins.Fact]:
    """Rows of all runs beside each other, in the order of the run that has most; where they differ is marked."""
    names = list(dict.fromkeys(name for one in sorted(rows, key=len, reverse=True) for name in one))
    return [origins.fact(name, [one.get(name) for one in rows]) for name in names]


def cost(runs: Sequence[TrainingRun], every: Sequence[Learner]) -> list[origins.Fact]:
    """Passes, seconds, speed and machine; facts that no run has are left out."""
    passes = [run.passes for run in runs]
    counts = [run.about["data"]["n"] * len(run.history) for run in runs]
    took = [run.seconds_an_epoch for run in runs]
    rows: list[tuple[str, list[Any]]] = [
        ("Forward passes a picture and epoch", [None if one is None else round(one[0], 3) for one in passes]),
        ("Backward passes a picture and epoch", [None if one is None else round(one[1], 3) for one in passes]),
        ("Passes in all, forward", [_times(one, 0, n) for one, n in zip(passes, counts, strict=True)]),
        ("Passes in all, backward", [_times(one, 1, n) for one, n in zip(passes, counts, strict=True)]),
        ("Pictures trained on", counts),
        ("Seconds an epoch, the median", took),
        ("Pictures a second", [_speed(run, one) for run, one in zip(runs, took, strict=True)]),
        ("Seconds in all", [run.timing.get("seconds") for run in runs]),
        ("Epochs", [len(run.history) for run in runs]),
        ("Interruptions", [one.resumed for one in every]),
        ("Threads", [_threads(run) for run in runs]),
        ("Device", [(run.about.get("provenance") or {}).get("device") for run in runs]),
    ]
    return origins.known(rows)


def _speed(run: TrainingRun, seconds: float | None) -> float | None:
    """Training pictures a second."""
    return run.about["data"]["n"] / seconds if seconds else None


def _times(passes: tuple[float, float] | None, at: int, pictures: int) -> int | None:
    return None if passes is None else round(passes[at] * pictures)


def _threads(run: TrainingRun) -> str | None:
    known = list(dict.fromkeys(one.threads for one in run.starts if one.threads is not None))
    return ", then ".join(map(str, known)) or None


def _hashes(card: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the file of the weights."""
    return {name: value for name, value in card.items() if name.endswith("sha256")}


def provenance(runs: Sequence[TrainingRun]) -> list[tuple[str, list[origins.Fact]]]:
    """Everything in train.json and timing.json, and what the card says of the training, in titled groups."""
    parts = ("provenance", "model", "data", "validation", "judge", "format")
    recipes = [{key: value for key, value in run.about.items() if key not in parts} for run in runs]
    groups = [
        ("Provenance", [{**(run.about.get("provenance") or {}), "command": run.command or None} for run in runs]),
        ("Recipe, every option", recipes),
        ("Judge of validation pictures", [run.about.get("judge") or {} for run in runs]),
        ("Model", [run.about["model"] for run in runs]),
        ("Pictures", [{"training": run.about["data"], "validation": run.about["validation"] or {}} for run in runs]),
        ("Files of the result", [_hashes(run.card or {}) for run in runs]),
        ("Timing, the only thing that differs between equal runs", [run.timing for run in runs]),
    ]
    return origins.titled(groups)
