"""Files that are either wholly there or not there at all."""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import RunError


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write `content`, perhaps in pieces, so that a kill at any moment leaves the old file or the new one, no part.

    Raises: `RunError` when the disk is full or the folder cannot be written.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:  # pieces may be computed, and that may fail or be interrupted
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if not isinstance(error, OSError):
            raise
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}. "
            "Choose a folder that can be written and has space left, then run again."
        ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while this one works in it; a kill frees it.

    Raises: `RunError` when another one is at work there. Where the file system has no such locks, nothing is kept out.
    """
    handle = None
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle or 0)
        raise RunError(
            f"another process is at work in {str(folder)!r}; allowed: one at a time. Wait for it, stop it, or choose "
            "another --out."
        ) from error
    except (ImportError, OSError):
        pass  # Windows, or a network drive; a folder that cannot be written is told when it is written to
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises: `RunError` when it cannot be read or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {str(path)!r}: {error}. Bring the file back, or make it anew.") from error
    if not isinstance(value, dict):
        raise RunError(f"{str(path)!r} holds {type(value).__name__}; an object is needed. Make it anew.")
    return value


def dotted(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A nested mapping as dotted names and values.

    >>> dotted({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        flat |= dotted(entry, f"{before}{key}.") if isinstance(entry, Mapping) else {f"{before}{key}": entry}
    return flat


INFINITE = "\0infinite"  # stands for infinity until the text is made


def dump_json(value: Any) -> bytes:
    """The same value gives the same bytes: sorted keys, and as `json_text`."""
    return (json_text(value, sort_keys=True) + "\n").encode()


def json_text(value: Any, *, sort_keys: bool = False) -> str:
    """JSON with two spaces and no NaN. Infinity is written 1e999: a number to any reader, and infinity to most.

    >>> json.loads(json_text({"size": math.inf}))
    {'size': inf}
    """
    text = json.dumps(_finite(value), indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    return text.replace(json.dumps(INFINITE), "1e999")


def _finite(value: Any) -> Any:
    """The value with `INFINITE` for every positive infinity in it."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return INFINITE if isinstance(value, float) and value == math.inf else value


def sha256(content: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
