"""Interleaved rounds of CPU time, and ratios with their spread."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """A candidate's CPU time over the limit's, round by round."""

    median: float
    lowest: float
    highest: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f}-{self.highest:.2f})"


def spread(each: Mapping[str, float]) -> str:
    """Median and range of a ratio on record."""
    return str(Ratio(each["median"], each["lowest"], each["highest"], 0))


def cpu_seconds(job: Callable[[], object]) -> float:
    """CPU time of this process, all its threads together, spent in one call."""
    begun = time.process_time()
    job()
    return time.process_time() - begun


def interleaved(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every job in every round; the jobs take turns, so that a slow spell hits all of them.

    The order turns around from round to round, so that no job always follows the same other.
    """
    for job in jobs.values():
        job()
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name in list(jobs)[:: 1 if number % 2 == 0 else -1]:
            spent[name].append(cpu_seconds(jobs[name]))
    return spent


def ratio(spent: list[float], limit: list[float]) -> Ratio:
    """Each round's time over the limit's time in the same round."""
    found = [a / b for a, b in zip(spent, limit, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found), len(found))
