"""Put the page together: plain figures and texts for the templates, which escape everything and compute little."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.drawing import templates
from holdfast.report import compare, failures, figures, origins, spread, words
from holdfast.report.column import VERDICTS, Column, columns
from holdfast.report.course import Search, course
from holdfast.report.gallery import Gallery, aligned, gallery
from holdfast.report.landscape import overall, singles
from holdfast.report.run import Run

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {
    "numbers": "Numbers",
    "curve": "Curve",
    "failures": "Failures",
    "pictures": "Pictures",
    "search": "Search",
    "cost": "Cost",
    "checks": "Checks",
    "provenance": "Provenance",
    "repeat": "Repeat",
    "words": "Words",
}


def page(runs: Sequence[Run]) -> str:
    """The whole document, as HTML text, for runs that were read."""
    return environment().get_template("page.html.j2").render(context(runs) | shifted(runs))


def shifted(runs: Sequence[Run]) -> dict[str, Any]:
    """The section of those runs that went on under shift; nothing where none did."""
    from holdfast.report import shift  # which uses the templates above

    named = zip((column.name for column in columns(runs)), runs, strict=True)
    found = [
        shift.read_shift(run.folder, name, place)
        for place, (name, run) in enumerate(named)
        if shift.has_shift(run.folder)
    ]
    if not found:
        return {}
    sections = {**SECTIONS}
    before = {name: sections.pop(name) for name in ("numbers", "curve")}
    return {"sections": {**before, "shift": "Shift", **sections}, **shift.section(found)}


@cache
def environment() -> "Environment":
    """The templates and what they may call."""
    filters = (words.percent, words.interval, words.number, words.radius, words.plural, words.sentence)
    calls = (words.share, words.size, words.points, words.overlap)
    return templates.environment(TEMPLATES, calls=calls, filters=filters)


def context(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything that the templates use, by name."""
    every = columns(runs)
    names = [column.name for column in every]
    notices = compare.notices(runs, names)
    return {
        "room": "",
        "sections": SECTIONS,
        "columns": every,
        "several": len(runs) > 1,
        "title": compare.title(runs, names),
        "settings": compare.settings(runs),
        "attacks": list(dict.fromkeys(compare.attack_text(run) for run in runs)),
        "notices": notices,
        "unrecorded": [column.name for column in every if column.run.records is None],
        "radii": _radii(runs),
        "own": any(_own_differs(point) for run in runs for point in run.summary["curve"]),
        "comparable": len(runs) == 2 and not notices,
        "curves": _curves(every),
        "class_tables": _class_tables(every),
        "galleries": _galleries(every),
        "rounds": _histograms(every, spread.rounds(runs), "Pictures by the round that broke them", "round"),
        "sizes": _histograms(every, spread.sizes(runs), "Pictures by the change that broke them", "size of the change"),
        "courses": _courses(every),
        "landscapes": _landscapes(every),
        "cost": origins.cost(runs),
        "checks": _checks(every),
        "verdicts": VERDICTS,
        "provenance": origins.provenance(runs),
    }


def _radii(runs: Sequence[Run]) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """The rows of the headline table: a radius and each run's point there, None where a run has none.

    Radii of different norms never share a row.
    """
    norms = list(dict.fromkeys(words.norm(run.summary["threat"]) for run in runs))
    rows: dict[tuple[int, float], tuple[str, list[dict[str, Any] | None]]] = {}
    for place, run in enumerate(runs):
        norm = words.norm(run.summary["threat"])
        for point in run.summary["curve"]:
            text = words.radius(point) + (f" ({norm})" if len(norms) > 1 else "")
            row = rows.setdefault((norms.index(norm), point["eps"]), (text, [None] * len(runs)))
            row[1][place] = point
    return [rows[key] for key in sorted(rows)]


def _own_differs(point: dict[str, Any]) -> bool:
    """Whether the attack of this radius alone breaks fewer pictures than the radii up to it together."""
    own = point.get("own")
    return own is not None and own["k"] != point["robust"]["k"]


def _curves(every: Sequence[Column]) -> list[tuple[list[Column], str]]:
    """(runs, SVG): one figure for each norm, because radii of different norms share no axis."""
    norms: dict[str, list[Column]] = {}
    for column in every:
        norms.setdefault(words.norm(column.run.summary["threat"]), []).append(column)
    drawn = []
    for norm, group in norms.items():
        series = [figures.Series(one.name, one.place, one.points) for one in group]
        label = f"largest change allowed ({norm})"
        drawn.append((group, figures.curve(series, title="Robust accuracy against radius", x_label=label)))
    return drawn


def _courses(every: Sequence[Column]) -> list[tuple[list[Column], str]]:
    """(runs, SVG): the size of the smallest change against the points asked, one figure for each norm."""
    norms: dict[str, list[Column]] = {}
    for column in every:
        if any(math.isfinite(point["median"]) for point in column.run.summary.get("course") or []):
            norms.setdefault(words.norm(column.run.summary["threat"]), []).append(column)
    return [(group, course([_search(one) for one in group], norm)) for norm, group in norms.items()]


def _landscapes(every: Sequence[Column]) -> list[tuple[Column, str, str]]:
    """(run, SVG of all pictures, SVG of some) for the runs that turned pictures."""
    known = ((one, one.run.records.landscape()) for one in every if one.run.records is not None)
    return [(one, overall(found, one.place), singles(found, one.place)) for one, found in known if found is not None]


def _search(column: Column) -> Search:
    points = [point for point in column.run.summary["course"] if math.isfinite(point["median"])]
    rows = ((point["queries"], point["median"], point["q25"], point["q75"]) for point in points)
    return Search(column.name, column.place, tuple(rows))


def _class_tables(every: Sequence[Column]) -> list[tuple[list[Column], list[tuple[failures.ClassRow, ...]]]]:
    """(runs, rows): one table for all runs when their classes and counts agree, else one for each run."""
    told = [column for column in every if column.classes]
    alike = len({tuple((row.name, row.n) for row in column.classes) for column in told}) == 1
    groups = [told] if alike else [[column] for column in told]
    return [(group, list(zip(*(column.classes for column in group)))) for group in groups]


def _galleries(every: Sequence[Column]) -> list[tuple[list[Column], Gallery]]:
    """(runs, pictures): one gallery with all runs beside each other when they saw the same pictures."""
    recorded = [column for column in every if column.run.records is not None]
    if recorded and aligned([column.run for column in recorded]):
        return [(recorded, gallery([column.run for column in recorded]))]
    return [([column], gallery([column.run])) for column in recorded]


def _histograms(
    every: Sequence[Column], bars: Sequence[figures.Bars | None], title: str, label: str
) -> list[tuple[Column, str]]:
    """(run, SVG) for the runs that have something to show, all with the same axes."""
    tallest = max((max(one.counts) for one in bars if one is not None), default=0)
    return [
        (column, figures.histogram(one, title=title, x_label=label, style=column.place, tallest=tallest))
        for column, one in zip(every, bars)
        if one is not None
    ]


def _checks(every: Sequence[Column]) -> list[tuple[str, list[tuple[Column, dict[str, Any]]]]]:
    """(title, results): every check with the result of each run that made it, troubles first."""
    rows: dict[str, list[tuple[Column, dict[str, Any]]]] = {}
    for column in every:
        for check in column.checks:
            rows.setdefault(str(check["name"]), []).append((column, check))
    order = list(VERDICTS)
    listed = [(str(results[0][1].get("title") or name), results) for name, results in rows.items()]
    return sorted(listed, key=lambda row: min(order.index(check["verdict"]) for _, check in row[1]))
