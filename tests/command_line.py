"""Command lines as users type them, run in this process."""

import json
import shlex

from typer.testing import CliRunner

from holdfast.cli import app


def call(line, *more):
    """What a command line came to, well or ill; `more` words are taken as they are."""
    return CliRunner().invoke(app, [*shlex.split(line), *map(str, more)])


def done(line, *more):
    """One that must succeed."""
    result = call(line, *more)
    assert result.exit_code == 0, result.stderr
    return result


def plain(line, *more):
    """The JSON object that is all of stdout."""
    return json.loads(done(line, *more, "--json").stdout)


def refused(line, *more):
    """The exit code and the one line on stderr of a command line that must fail."""
    result = call(line, *more)
    assert result.exit_code in (1, 2)
    assert len(result.stderr.strip().splitlines()) == 1
    return result.exit_code, result.stderr
