"""What all tests share: markers that skip with a reason, a browser, real data, and a watch on global state."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from holdfast.bridges.library import INSTALL

# Sums come out differently for different numbers of threads; tiny models gain nothing from a second one, and lose
# much on a busy machine, where threads wait for each other. The variable is for the processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in every run: a red test stays red until it is mended. Times differ too much for deadlines.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("repeatable")

# Markers whose tests must run, as in HOLDFAST_REQUIRE=data,browser: there, a skipped test is a failed one.
REQUIRED = frozenset(filter(None, os.environ.get("HOLDFAST_REQUIRE", "").split(",")))
have_run: set[str] = set()


def chromium() -> str | None:
    """The browser's executable, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def data_folder() -> Path | None:
    """The folder with real data that HOLDFAST_DATA names, or None."""
    named = os.environ.get("HOLDFAST_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def libraries() -> bool:
    """Whether every library that there is a bridge to can be imported."""
    return all(map(importlib.util.find_spec, INSTALL))


# What a test of a marker needs: whether it is here, and what to do about it.
NEEDS = {
    "gpu": (torch.cuda.is_available, "a CUDA device"),
    "browser": (chromium, "Chromium: install it, or put it on the PATH"),
    "bridges": (libraries, f"libraries of attacks: {', '.join(sorted(INSTALL.values()))}"),
    "data": (data_folder, "real data: HOLDFAST_DATA=folder with mnist/, fashion-mnist/, cifar-10-batches-bin/"),
    "make": (partial(shutil.which, "make"), "make, to try the Makefile"),
}


def pytest_runtest_setup(item):
    """Leave out what this machine cannot run, such as a GPU's tests, so that all others can be run anywhere.

    The one place that skips; where HOLDFAST_REQUIRE names the marker, as in continuous integration, the test fails.
    """
    for marker, (here, what) in NEEDS.items():
        if item.get_closest_marker(marker) and not here():
            pytest.skip(f"needs {what}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = {marker.name for marker in item.iter_markers()} & REQUIRED
    if required and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"HOLDFAST_REQUIRE={','.join(sorted(required))}, but {reason}"
    return report


def pytest_runtest_logreport(report):
    if report.when == "call" and not report.skipped:
        have_run.update(REQUIRED & report.keywords.keys())


def missing(config: pytest.Config) -> list[str]:
    """Required markers of which no test has run: a module that was skipped whole leaves no report of its own.

    Asked of whole runs only; who names some tests has chosen what to leave out. Where several processes share the
    tests, asked of the one that hears of all of them.
    """
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword
    if chosen or config.option.collectonly or hasattr(config, "workerinput"):
        return []
    return sorted(REQUIRED - have_run)


def pytest_sessionfinish(session, exitstatus):
    if missing(session.config) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for marker in missing(config):
        terminalreporter.write_line(f"HOLDFAST_REQUIRE={marker}, but no test marked {marker} has run", red=True)


@pytest.fixture(autouse=True)
def nothing_global_changes():
    """Using holdfast must leave torch's own settings as they were."""

    def settings_now():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
        )

    before = settings_now()
    yield
    assert settings_now() == before, "a global setting of torch was changed and not given back"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data in its publishers' formats; for tests marked `data`."""
    return data_folder()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Headless Chromium through Playwright; for tests marked `browser`."""
    from playwright.sync_api import sync_playwright

    # Root in a container has no sandbox; the other switches keep Chromium from calling home.
    switches = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=switches)
        yield running
        running.close()


@dataclass
class Watched:
    """A page and what went wrong on it."""

    page: object
    errors: list[str] = field(default_factory=list)  # console errors, warnings and uncaught exceptions
    calls: list[str] = field(default_factory=list)  # addresses outside this machine's files that were asked for


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    """A new page without a network. The test fails if the page logs an error or asks for anything but files."""
    context = browser.new_context(offline=True)
    seen = Watched(context.new_page())

    def listen(message):
        if message.type in ("error", "warning"):
            seen.errors.append(message.text)

    def note(request):
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            seen.calls.append(request.url)

    seen.page.on("console", listen)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("request", note)
    yield seen
    context.close()
    assert (seen.errors, seen.calls) == ([], [])


@pytest.fixture
def page(watched):
    """The Playwright page of `watched`, for tests that only look at it."""
    return watched.page
