"""Pages about a folder that one command wrote: made of one JSON file there, and of the arrays beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from holdfast.errors import RunError
from holdfast.files import read_object, write_atomically
from holdfast.report.page import environment

PAGE = "report.html"


@dataclass(frozen=True)
class Kind:
    """A kind of folder: the `file` by which it is known, of which `format`, and what its template uses of it."""

    file: str
    format: int
    template: str
    context: Callable[[Mapping[str, Any], Path], dict[str, Any]]

    def wrote(self, folder: Path) -> bool:
        """Whether the folder is of this kind."""
        return (folder / self.file).is_file()

    def write(self, folder: Path) -> Path:
        """Write report.html beside the file and return its path. Raises: as `page`, and where it cannot be written."""
        write_atomically(folder / PAGE, self.page(folder).encode())
        return folder / PAGE

    def page(self, folder: Path) -> str:
        """The page as HTML text. Raises: `RunError` for a file that is missing, damaged or of another format."""
        from jinja2 import TemplateError

        path = folder / self.file
        plain = read_object(path)
        if plain.get("format") != self.format:
            raise RunError(f"{str(path)!r} has format {plain.get('format')!r}; allowed: {self.format}. Make it anew.")
        try:
            return environment().get_template(self.template).render(self.context(plain, folder))
        except (KeyError, TypeError, IndexError, TemplateError) as error:
            raise RunError(f"{str(path)!r} is damaged ({error!r}). Make it anew.") from error


def arrays(file: Path) -> dict[str, NDArray[Any]]:
    """What a safetensors file holds. Raises: `RunError` for one that cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError) as error:
        raise RunError(f"{str(file)!r} cannot be read ({type(error).__name__}). Make it anew.") from error
