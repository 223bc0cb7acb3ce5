"""One run as the page shows it: its name and mark, its verdict, its failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.evaluate.statistics import Rate
from holdfast.report import compare, failures, figures, origins, words
from holdfast.report.pictures import heat_map
from holdfast.report.recount import disagreements
from holdfast.report.run import Run

SHOWN_FILES = 5
LARGEST_TABLE = 20  # classes; larger confusion tables are drawn, not written
VERDICTS = {"fail": "failed", "warn": "warned", "pass": "passed", "skipped": "skipped"}


@dataclass(frozen=True)
class Column:
    """One run as the templates see it."""

    run: Run
    name: str
    place: int  # chooses colour and mark
    style: str  # class that carries the colour
    mark: str  # SVG
    believe: bool
    because: str
    checks: list[dict[str, Any]]
    points: tuple[figures.Point, ...]  # the clean accuracy at radius 0, then the curve
    classes: list[failures.ClassRow]
    hardest: list[failures.ClassRow]
    confused: list[failures.Confusion]
    names: list[str]  # of the rows and columns of the confusion tables
    tables: list[tuple[str, list[list[int]]]]  # (title, counts), rows are labels
    maps: list[tuple[str, str]]  # the same as pictures, when there are too many classes

    @property
    def tally(self) -> str:
        """How many checks passed, warned, failed and were skipped."""
        found = [str(check["verdict"]) for check in self.checks]
        counts = {text: found.count(verdict) for verdict, text in VERDICTS.items()}
        said = [f"{count} {text}" for text, count in counts.items() if count]
        ours = ", one made by this page" if len(found) > len(self.run.summary.get("checks") or []) else ""
        return f"{words.plural(len(found), 'check')}{ours}{': ' if said else ''}{', '.join(said)}"

    @property
    def skipped(self) -> str:
        """Which files of the data could not be read as pictures, or an empty string."""
        names = [str(name) for name in (self.run.origin.get("data") or {}).get("skipped") or []]
        if not names:
            return ""
        more = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
        listed = ", ".join(names[:SHOWN_FILES]) + more
        return f"{words.plural(len(names), 'file')} could not be read as pictures and were left out: {listed}."

    @property
    def versions(self) -> str:
        """Versions, seed and hashes in one line, as far as the run noted them."""
        noted = self.run.origin.get("provenance") or {}
        return origins.versions(noted, {name: noted.get(f"{name}_sha256") for name in ("weights", "data")})

    @property
    def measured_batch(self) -> int | None:
        """The batch size that the run chose for itself, if its command does not name one."""
        command = self.run.command
        chosen = (self.run.origin.get("choices") or {}).get("batch")
        return int(chosen) if chosen and command and "--batch" not in command else None

    @property
    def halving(self) -> str:
        """Where half of the clean accuracy is lost, read off straight lines between the points."""
        half = self.points[0].rate / 2
        if half == 0:
            return "No picture was right before the attack, so there was nothing to lose."
        for left, right in zip(self.points, self.points[1:]):
            if right.rate <= half:
                eps = left.eps + (right.eps - left.eps) * (left.rate - half) / (left.rate - right.rate)
                return f"Half of the clean accuracy is gone at about {words.size(eps, self._unit)}."
        return f"More than half of the clean accuracy is left at {words.size(self.points[-1].eps, self._unit)}."

    @property
    def _unit(self) -> str:
        """A radius as the user wrote it, for its unit."""
        return words.radius(self.run.summary["curve"][-1])

    @property
    def smallest(self) -> str:
        """How large a change breaks a picture, in a sentence; empty where the smallest was not sought."""
        summary = self.run.summary
        size, success = summary.get("size"), summary.get("success")
        if not summary.get("sought") or not size or not success:
            return ""
        low, middle, high = (words.size(size[name], self._unit) for name in ("q25", "median", "q75"))
        share = summary.get("relative_size")
        told = "" if share is None else f" The change is {words.percent(share)} of the picture's own size on average."
        return (
            f"The attack looked for the smallest change whatever the radius, and found one for {success['k']} of the "
            f"{success['n']} pictures that were right: median {middle}, middle half {low} to {high}.{told}"
        )

    @property
    def views(self) -> str:
        """At how many random views the broken pictures are broken too, in a sentence; empty where none were looked at.

        Of the largest radius.
        """
        seen = self.run.summary["curve"][-1].get("views")
        if not seen or not seen["pictures"]:
            return ""
        return (
            f"The attack averaged over random views. Of {seen['looks']} new ones of each of the {seen['pictures']} "
            f"pictures broken at {self._unit}, {words.percent(seen['after'])} are misclassified too; of the same views "
            f"of their originals, {words.percent(seen['before'])}."
        )


def columns(runs: Sequence[Run]) -> list[Column]:
    """All runs with their names, in the order given."""
    return [_column(run, *who) for run, who in zip(runs, compare.told_apart(compare.labels(runs)), strict=True)]


def _column(run: Run, name: str, place: int, style: str, mark: str) -> Column:
    believe = run.summary["believe"]
    wrong = disagreements(run.summary, run.records) if run.records is not None else []
    own = [_recount(wrong)] if run.records is not None else []
    reason = f"its summary and its records disagree ({'; '.join(wrong)})" if wrong else str(believe["because"])
    if wrong and not believe["verdict"]:
        reason += f"; besides, {words.because(str(believe['because']))}"
    rows, tables = failures.class_rows(run.summary), failures.tables(run.summary)
    names = failures.class_names(run.summary, max((len(table) for _, table in tables), default=0))
    written = len(names) <= LARGEST_TABLE
    return Column(
        run=run,
        name=name,
        place=place,
        style=style,
        mark=mark,
        believe=bool(believe["verdict"]) and not wrong,
        because=words.because(reason),
        checks=[*(run.summary.get("checks") or []), *own],
        points=_points(run),
        classes=rows,
        hardest=failures.hardest(rows),
        confused=failures.confusions(run.summary, "after"),
        names=names,
        tables=tables if written else [],
        maps=[] if written else [(title, heat_map(np.asarray(table))) for title, table in tables],
    )


def _recount(wrong: Sequence[str]) -> dict[str, Any]:
    """The report's own check, in the form of those in `summary.json`."""
    good = "The counts of the headline and of the curve were counted again from the records when this page was made."
    return {
        "name": "recount",
        "title": "The records give the same counts",
        "verdict": "fail" if wrong else "pass",
        "evidence": "; ".join(wrong) or good,
        "advice": "Delete summary.json and run `holdfast evaluate ... --resume`; do not edit a run." if wrong else "",
    }


FINE = 60  # points of a curve whose every radius is known
SHOWN = 0.95  # share of the sizes that the curve goes on for


def _points(run: Run) -> tuple[figures.Point, ...]:
    """The named radii; where the smallest change was sought, the curve between and beyond them too."""
    clean = run.summary["clean"]
    found = [(0.0, "clean", clean)]
    found += [
        (point["eps"], words.radius(point), point["robust"]) for point in run.summary["curve"] if point["eps"] > 0
    ]
    points = [figures.Point(eps, text, rate["rate"], rate["low"], rate["high"]) for eps, text, rate in found]
    return tuple(sorted(points + _between(run, {point.eps for point in points}), key=lambda point: point.eps))


def _between(run: Run, named: set[float]) -> list[figures.Point]:
    """The rates at radii that nobody named, from the smallest change of each picture."""
    if run.records is None or run.records.smallest is None:
        return []
    records, sizes = run.records, run.records.smallest
    finite = sizes[records.right & np.isfinite(sizes)]
    if not len(finite):
        return []
    end = max(float(np.quantile(finite, SHOWN)), *named)
    radii = [end * step / FINE for step in range(1, FINE + 1)]
    rates = [(eps, Rate(int((records.right & (sizes > eps)).sum()), len(records))) for eps in radii if eps not in named]
    return [figures.Point(eps, None, rate.rate, rate.low, rate.high) for eps, rate in rates]
