"""Several parts of one run, made by as many processes, become the run that one process would have made."""

import logging
from collections.abc import Sequence
from math import prod
from pathlib import Path

from holdfast.errors import RunError
from holdfast.evaluate import shards
from holdfast.evaluate.job import bounds
from holdfast.evaluate.protocol import finish
from holdfast.evaluate.provenance import Run, differences
from holdfast.evaluate.result import Evaluation
from holdfast.evaluate.run_folder import CHECKS, RUN, TIMING, RunFolder, look_into, read_json
from holdfast.evaluate.timing import together
from holdfast.files import dump_json, write_atomically

log = logging.getLogger("holdfast")


def merge(folders: Sequence[Path | str], out: Path | str) -> Evaluation:
    """Join the folders of all parts (`shard=(i, n)`) of one run into the new folder `out`, and finish it.

    The result has the same bytes in every file but timing.json as the run of one process with the same options,
    `batch` among them: where it was "auto", parts took 256 and a whole run measures.
    Raises: `RunError` when a folder is no part, parts differ in their options or provenance, or one is missing, given
    twice or unfinished, and when `out` is in use. Cost: no model call; every shard is read once and copied.
    """
    parts = _parts([Path(folder) for folder in folders])
    first = parts[1].run
    run = {**first, "options": {**first["options"], "shard": None}}
    total = len(bounds(run["data"]["n"], prod(run["data"]["shape"]), run["options"]["shard_size"]))
    sources = {number: parts[number % len(parts) + 1].shard_path(number) for number in range(total)}
    for number, source in sources.items():
        if not shards.intact(source, number):
            raise RunError(
                f"shard {str(source)!r} is missing or damaged; allowed: finished parts. "
                "Finish its part by --resume, then merge again."
            )
    path = Path(out)
    look_into(path, resume=False)
    folder = RunFolder(path, run)
    for number, source in sources.items():
        write_atomically(folder.shard_path(number), source.read_bytes())
    checks = parts[1].read(CHECKS)
    if checks is not None:
        folder.write(CHECKS, checks)
    write_atomically(path / RUN, dump_json(run))
    return finish(folder, range(total), together([part.read(TIMING) or {} for _, part in sorted(parts.items())]))


def _parts(folders: Sequence[Path]) -> dict[int, RunFolder]:
    """The parts by their number, from 1; all there, and all of one run."""
    found: dict[int, RunFolder] = {}
    count = 0
    for path in folders:
        run = _run_of_part(path)
        number, of = run["options"]["shard"]
        if number in found or (found and of != count):
            raise RunError(
                f"{str(path)!r} is part {number}/{of}, given beside {_given(found, count)}; allowed: each part of one "
                "run once. Name every folder once."
            )
        found[number], count = RunFolder(path, run), of
    missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in found]
    if missing or not found:
        raise RunError(
            f"merge: given {len(found)}, {', '.join(missing) or 'all'} missing; allowed: all parts of one "
            "run. Make them by `holdfast evaluate ... --shard i/n --out PART`, then name all."
        )
    for part in found.values():
        changed = differences(found[1].run, part.run, ignore=["shard"])
        if changed:
            raise RunError(
                f"{str(part.path)!r} does not belong to {str(found[1].path)!r}: {'; '.join(changed)}; allowed: the "
                "same options and versions. Make all parts by the same command but for --shard and --out."
            )
    return found


def _run_of_part(path: Path) -> Run:
    run = read_json(path / RUN) if path.is_dir() else None
    if run is None or not run.get("options", {}).get("shard"):
        what = (
            "does not exist"
            if not path.exists()
            else "holds no part of a run"
            if run is None
            else "is a whole run, not a part"
        )
        raise RunError(
            f"{str(path)!r} {what}; allowed: folders made by `holdfast evaluate ... --shard i/n --out PART`."
        )
    return run


def _given(found: dict[int, RunFolder], count: int) -> str:
    return ", ".join(f"{number}/{count} ({str(part.path)!r})" for number, part in found.items())
