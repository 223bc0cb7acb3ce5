"""Fetch published files, checked against their published checksums before they get their names."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.data.published import Download
from holdfast.errors import DataError

TIMEOUT = 30  # seconds without an answer or without a byte


def fetch(name: str, downloads: tuple[Download, ...], folder: Path, *, progress: bool = False) -> None:
    """Put the files into `folder`, each from the first of its addresses that gives the published bytes.

    Files that are there already are left alone; a new one gets its name only when its MD5 is right.
    Args: `name` of the set, for errors; `progress` shows a bar on stderr.
    Raises: `DataError` that names the folder where the files may be put by hand.
    """
    for download in downloads:
        if not (folder / download.file).exists():
            reason = _fetch_one(download, folder, progress)
            if reason:
                raise DataError(
                    f"{name}: not found whole on this machine, and cannot be fetched ({reason}). "
                    f"Put {', '.join(d.file for d in downloads)} into {str(folder)!r} by hand, "
                    "or point --data-dir or HOLDFAST_DATA to the folder above it."
                )


def _fetch_one(download: Download, folder: Path, progress: bool) -> str:
    """Empty when the file is there, else why the last address failed."""
    import pooch

    reason = "no address known"
    for url in download.urls:
        ask = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT)
        try:
            with _quiet(pooch.get_logger()):
                pooch.retrieve(url, f"md5:{download.md5}", fname=download.file, path=folder, downloader=ask)
        except (OSError, ValueError) as error:  # no connection, no such file, disk full; wrong checksum
            reason = f"{url}: {_in_one_line(error)}"
        else:
            return ""
    return reason


def _in_one_line(error: Exception) -> str:
    if isinstance(error, ValueError) and "hash" in str(error):
        return "not the published bytes, MD5 differs"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Pooch writes to stderr by itself; the progress bar is all that is wanted."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
