"""The page of a reproduction: table, orderings, figures, settings, in one file that needs nothing else."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.drawing import templates
from holdfast.drawing.marks import marker
from holdfast.reproduce import words

if TYPE_CHECKING:
    from jinja2 import Environment

    from holdfast.reproduce.run import Reproduced

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {"table": "Table", "orderings": "Orderings", "figures": "Figures", "settings": "Settings"}


def page(done: "Reproduced") -> str:
    """The whole document, as HTML text."""
    return environment().get_template("reproduction.html.j2").render(context(done))


@cache
def environment() -> "Environment":
    """The template and what it may call."""
    calls = (words.figure, words.spread, words.each, words.judged_by, marker)
    return templates.environment(TEMPLATES, calls=calls)


def context(done: "Reproduced") -> dict[str, Any]:
    """Everything that the template uses, by name."""
    table = done.table
    return {
        "done": done,
        "sections": {anchor: name for anchor, name in SECTIONS.items() if anchor != "figures" or table.plots},
        "notice": done.of.notice(done.preset),
        "groups": table.groups(),
        "several": len(done.conditions["seeds"]) > 1,
        "tally": words.tally(table.orderings),
        "all_held": all(ordering.held is True for ordering in table.orderings),
        "verdicts": words.VERDICTS,
        "plots": _by_group(done),
        "settings": words.flat(done.settings),
        "conditions": words.flat(done.conditions),
        "kept": sum(part.kept for part in done.parts),
    }


def _by_group(done: "Reproduced") -> list[tuple[str, list[Any]]]:
    groups = dict.fromkeys(plot.group for plot in done.table.plots)
    return [(group, [plot for plot in done.table.plots if plot.group == group]) for group in groups]
