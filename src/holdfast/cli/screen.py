"""What a command shows: results on stdout, or one JSON object there; progress and notes on stderr."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from holdfast import ranks
from holdfast.files import json_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0  # of progress where there is no terminal
WIDE = 160  # columns where there is no terminal


class Screen:
    """Where a command writes to. `plain` is for `--json`, `quiet` silences everything but results and errors.

    Of several processes of one command only the first shows results, notes and progress.
    """

    def __init__(self, *, plain: bool = False, quiet: bool = False) -> None:
        self.shown = ranks.rank() == 0
        self.plain, self.quiet = plain, quiet = plain, quiet or not self.shown
        self.out, self.err = _console(stderr=False), _console(stderr=True)
        _log_to(self.err, logging.ERROR if quiet else logging.WARNING)

    def result(self, values: Mapping[str, Any], *shown: Any) -> None:
        """The end of a command: `values` with `--json`, else what is to be seen, line by line."""
        if not self.shown:
            return
        if self.plain:
            sys.stdout.write(json_text(values) + "\n")
            return
        for item in shown:
            # Text is never taken for markup, and never broken where the screen ends: it may be copied.
            self.out.print(item, markup=False, highlight=False, soft_wrap=isinstance(item, str))

    def note(self, text: str) -> None:
        """A line on stderr."""
        if not self.quiet:
            self.err.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, unit: str = "pictures") -> Iterator["Bar"]:
        """A bar on a terminal, else a line every few seconds."""
        if self.quiet:
            yield Bar(unit)
        elif not self.err.is_terminal:
            yield Lines(unit, self)
        else:
            with _rich_bar(self.err) as bar:
                yield Drawn(unit, bar)


class Bar:
    """Told how far the work is; this one shows nothing."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._begun = perf_counter()
        self._first: int | None = None

    def update(self, done_pictures: int, total: int, text: str) -> None:
        """`done_pictures` of `total` are finished; `text` says what is being done."""
        if self._first is None:  # what an earlier start had done says nothing about the speed of this one
            self._first, self._begun = done_pictures, perf_counter()
        self.show(done_pictures, total, text, self._speed(done_pictures, total))

    def show(self, done: int, total: int, text: str, speed: str) -> None:
        """Draw it."""

    def _speed(self, done: int, total: int) -> str:
        """Pictures a second and time left, once there is something to go by."""
        seconds = perf_counter() - self._begun
        fresh = done - (self._first or 0)
        if fresh <= 0 or seconds <= 0:
            return ""
        rate = fresh / seconds
        left = f", {duration((total - done) / rate)} left" if done < total else ""
        return f"{rate:,.0f} {self.unit}/s{left}"


class Lines(Bar):
    """Progress as plain lines."""

    def __init__(self, unit: str, screen: Screen) -> None:
        super().__init__(unit)
        self._screen = screen
        self._last = float("-inf")

    def show(self, done: int, total: int, text: str, speed: str) -> None:
        """A line, unless there was one a moment ago."""
        now = perf_counter()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._screen.note(f"{text}: {done:,} of {total:,} {self.unit}{', ' + speed if speed else ''}")


class Drawn(Bar):
    """Progress as a bar."""

    def __init__(self, unit: str, bar: "Progress") -> None:
        super().__init__(unit)
        self._bar = bar
        self._task = bar.add_task("", total=None, speed="")

    def show(self, done: int, total: int, text: str, speed: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total, description=text, speed=speed)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> Any:
    """A table without frames, copied well; `right` are the columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, name in enumerate(columns):
        made.add_column(Text(name), justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else WIDE)


def _rich_bar(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        console=console,
        transient=True,
    )


class _Handler(logging.Handler):
    """Log records of the library as lines, over a progress bar if there is one."""

    def __init__(self, console: "Console", level: int) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _log_to(console: "Console", level: int) -> None:
    stop_logging()
    logging.getLogger("holdfast").addHandler(_Handler(console, level))


def stop_logging() -> None:
    """Take the command's handler off the library's log."""
    log = logging.getLogger("holdfast")
    for handler in [handler for handler in log.handlers if isinstance(handler, _Handler)]:
        log.removeHandler(handler)
