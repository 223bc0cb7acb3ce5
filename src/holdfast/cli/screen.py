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
SECONDS_TO_SETTLE = 3.0  # before a speed is told, and in a pause after which none is
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
    """Told how far the work is; this one shows nothing.

    The speed is the mean from the start to the last count that grew: a pause neither slows it nor stretches the time
    left, and one that is longer than any before leaves both out.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._text, self._total = "", -1
        self._first = self._done = 0
        self._begun = self._moved = perf_counter()
        self._pause = 0.0  # the longest so far

    def update(self, done_pictures: int, total: int, text: str) -> None:
        """`done_pictures` of `total` are finished; `text` says what is being done."""
        now = perf_counter()
        another = total != self._total or done_pictures < self._done
        # What an earlier start had done says nothing about the speed of this one, nor does another work before this
        # one, nor what came before the first picture, such as checks.
        if another or (done_pictures == self._first and text != self._text):
            self._start(done_pictures, now)
        elif done_pictures > self._done:
            self._pause = max(self._pause, now - self._moved)
            self._done, self._moved = done_pictures, now
        self._text, self._total = text, total
        self.show(done_pictures, total, text, self._speed(now))

    def show(self, done: int, total: int, text: str, speed: str) -> None:
        """Draw it."""

    def _start(self, done: int, now: float) -> None:
        """Count from here."""
        self._first = self._done = done
        self._begun = self._moved = now
        self._pause = 0.0

    def _speed(self, now: float) -> str:
        """Pictures a second and time left, where there is something to go by."""
        seconds = self._moved - self._begun
        settled = now - self._begun >= SECONDS_TO_SETTLE and seconds > 0
        if not settled or now - self._moved > max(SECONDS_TO_SETTLE, 2 * self._pause):
            return ""
        rate = (self._done - self._first) / seconds
        left = self._total - self._done
        return f"{_few(rate)} {self.unit}/s" + (f", {duration(left / rate)} left" if left > 0 else "")


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


def _few(rate: float) -> str:
    """A rate with as many digits as tell something: never 0 for one that is not."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 1 else f"{rate:.1g}"


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
