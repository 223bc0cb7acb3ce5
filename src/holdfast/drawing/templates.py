"""How pages are filled in: strict templates that escape everything, with the style sheet beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.drawing import STYLE

if TYPE_CHECKING:
    from jinja2 import Environment

Call = Callable[..., Any]


def environment(folder: Path, *, calls: Sequence[Call] = (), filters: Sequence[Call] = ()) -> "Environment":
    """The templates of a folder and what they may call, each function by its own name.

    A name that a template uses and nobody gives is an error. Compiling templates takes longer than filling them in:
    keep what is returned.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, STYLE.parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals.update({call.__name__: call for call in calls})
    made.filters.update({call.__name__: call for call in filters})
    return made
