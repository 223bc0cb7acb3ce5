"""One self-contained HTML page made only from run folders.

Of evaluations: how accurate, how robust, where it fails, may I believe it. Of trainings: how they went, how they score,
what they cost, and the recipe. Of a calibration: whether the model is as sure as it is right, before and after. Of runs
under shift: whether it stays so.

`render` gives the page as text, `write` puts it into a file. The page needs no network and no script, follows the
reader's light or dark setting, fits a phone and prints. The same folders give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import RunError

__all__ = ["render", "write"]


def render(runs: Sequence[Path]) -> str:
    """The report of one run, or of several side by side, as HTML text.

    Args: `runs`: run folders, at least one, in the order of the columns: finished evaluations, or trainings, which
    need not be finished; runs under shift, with an attack or without; or one folder that `calibrate`, `ood` or
    `detect evaluate` wrote.
    Returns a whole HTML document.
    Raises: `RunError` for anything that is no readable run folder, an evaluation that is not finished, and trainings
    beside evaluations. Cost: no model call; the light records of all pictures are read, pixels only of the two dozen
    pictures shown.
    """
    from holdfast.report import calibration, detection, shift, suspicion, training
    from holdfast.report.page import page
    from holdfast.report.run import read_all
    from holdfast.report.training_run import all_trainings

    folders = [Path(run) for run in runs]
    for kind in (calibration.KIND, suspicion.KIND, detection.KIND):
        for folder in filter(kind.wrote, folders):
            if len(folders) > 1:
                raise RunError(
                    f"{str(folder)!r} holds {kind.file}, whose page is of one folder; allowed: that folder alone. "
                    "Name the others apart."
                )
            return kind.page(folder)
    if any(map(shift.is_shift_alone, folders)):
        return shift.page(folders)
    return training.page(folders) if all_trainings(folders) else page(read_all(folders))


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
