"""The suite catches the bugs in `tests/mutants.py`: planted in a copy of the package, each must turn its test red."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from mutants import MUTANTS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(holdfast.__file__).parent


def copy_of_package(folder):
    shutil.copytree(PACKAGE, folder / "holdfast", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "holdfast"


def run_tests(command, source):
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *shlex.split(command)]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_code_still_has_what_a_mutant_changes(mutant):
    assert (PACKAGE / mutant.file).read_text().count(mutant.old) == 1, (
        "the code has changed: bring the mutant up to date"
    )


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_caught(mutant, tmp_path):
    path = copy_of_package(tmp_path) / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
    ran = run_tests(mutant.caught_by, tmp_path)
    assert ran.returncode == 1, f"survived:\n{ran.stdout[-2000:]}{ran.stderr[-500:]}"
    assert str(tmp_path) in ran.stdout or "failed" in ran.stdout


@pytest.mark.slow
def test_without_a_mutant_the_same_tests_pass(tmp_path):
    copy_of_package(tmp_path)
    program = "import holdfast, sys; sys.exit(not holdfast.__file__.startswith(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=True)
    for command in sorted({mutant.caught_by for mutant in MUTANTS}):
        ran = run_tests(command, tmp_path)
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}"
