"""One self-contained HTML page made only from run folders: how accurate, how robust, where it fails, may I believe it.

`render` gives the page as text, `write` puts it into a file. The page needs no network and no script, follows the
reader's light or dark setting, fits a phone and prints. The same folders give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["render", "write"]


def render(runs: Sequence[Path]) -> str:
    """The report of one run, or of several side by side, as HTML text.

    Args: `runs`: finished run folders, at least one, in the order of the columns. Returns a whole HTML document.
    Raises: `RunError` for anything that is not a finished, readable run folder. Cost: no model call; the light
    records of all pictures are read, pixels only of the two dozen pictures shown.
    """
    from holdfast.report.page import page
    from holdfast.report.run import read_all

    return page(read_all([Path(run) for run in runs]))


def write(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of `runs` to a file and return its path.

    Args: `out`: the file; if None, `report.html` inside a single run, or beside the first of several runs.
    Raises: as `render`, and `RunError` when the file cannot be written.
    """
    from holdfast.files import write_atomically

    folders = [Path(run) for run in runs]
    text = render(folders)
    if out is None:
        first = folders[0].resolve()
        out = (folders[0] if len(folders) == 1 else first.parent) / "report.html"
    write_atomically(Path(out), text.encode())
    return Path(out)
