"""The project's own promises: a light import, public names that are documented, commands that do what they say."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import holdfast

ROOT = Path(__file__).parents[1]
HEAVY = {
    "scipy",
    "sklearn",
    "PIL",
    "typer",
    "rich",
    "jinja2",
    "pooch",
    "safetensors",
    "lightning_fabric",
    "tqdm",
    "matplotlib",
    "playwright",
}
PACKAGES = [name for _, name, _ in pkgutil.iter_modules(holdfast.__path__, "holdfast.")]
LIBRARY = [name for name in PACKAGES if name not in ("holdfast.cli", "holdfast.__main__")]
# No page in the reference.
INTERNAL = {f"holdfast.{name}" for name in ("drawing", "files", "generators", "processes", "ranks")}
MODULES = [name for _, name, _ in pkgutil.walk_packages(holdfast.__path__, "holdfast.") if "__main__" not in name]


def in_a_new_process(code: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import_loads_nothing_heavy():
    """Printed with `pytest -s`: the seconds that holdfast adds to torch, and where they would come from."""
    seconds, loaded = in_a_new_process(
        "import sys, time, torch\n"
        "before, start = set(sys.modules), time.perf_counter()\n"
        "import holdfast\n"
        "print(time.perf_counter() - start)\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    print(f"import holdfast after import torch: {float(seconds):.3f} s")
    assert "holdfast" in loaded.split()
    assert not HEAVY & set(loaded.split())


def test_library_loads_heavy_parts_only_when_used_and_changes_nothing_global():
    state = (
        "(torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), "
        "logging.root.handlers[:], logging.root.level, warnings.filters[:], random.getstate(), dict(os.environ))"
    )
    loaded, same = in_a_new_process(
        f"import logging, os, random, sys, torch, warnings\nmodules, before = set(sys.modules), {state}\n"
        f"import {', '.join(LIBRARY)}\nafter = {state}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - modules})\n"
        "print([a == b for a, b in zip(before, after)], logging.getLogger('holdfast').handlers)"
    )
    assert not HEAVY & set(loaded.split())
    assert same == f"{[True] * 9} []"


@pytest.mark.parametrize("name", ["holdfast", *PACKAGES])
def test_public_names_are_there_and_documented(name):
    package = importlib.import_module(name)
    assert package.__doc__
    for public in getattr(package, "__all__", []):
        value = getattr(package, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", sorted(set(LIBRARY) - INTERNAL))
def test_every_public_package_has_its_page_in_the_reference(name):
    pages = (ROOT / "docs/reference").glob("*.md")
    assert name in {line[4:] for page in pages for line in page.read_text().splitlines() if line.startswith("::: ")}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_command_line_page_is_what_the_commands_say():
    script = runpy.run_path(str(ROOT / "docs/commands.py"))
    page = (ROOT / "docs/commands.md").read_text()
    assert page == script["page"](), "run: .venv/bin/python docs/commands.py"
    assert "`--eps`" in page


@pytest.mark.parametrize(
    ("page", "registry"),
    [
        ("threats", "holdfast.threats.THREATS"),
        ("attacks", "holdfast.attacks.ATTACKS"),
        ("attacks", "holdfast.extract.UNIVERSAL"),
        ("models", "holdfast.models.ARCHITECTURES"),
        ("data", "holdfast.data.SETS"),
        ("ood", "holdfast.uncertainty.SCORES"),
        ("reproduce", "holdfast.reproduce.REPRODUCTIONS"),
        ("commands", "holdfast.evaluate.SUITES"),
        ("report", "holdfast.evaluate.checks.SAMPLE_CHECKS"),
        ("report", "holdfast.evaluate.checks.RECORD_CHECKS"),
        ("calibration", "holdfast.uncertainty.RECALIBRATIONS"),
        ("calibration", "holdfast.uncertainty.SETS"),
    ],
)
def test_guides_name_everything_there_is(page, registry):
    text = (ROOT / f"docs/{page}.md").read_text()
    names = [getattr(entry, "name", entry) for entry in pkgutil.resolve_name(registry)]
    assert names
    assert not [name for name in names if f"`{name}`" not in text]


def examples(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def test_example_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = examples("README.md")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_examples_of_defended_models_run(capsys):
    for code in examples("docs/defended.md"):
        exec(compile(code, "docs/defended.md", "exec"), {})
    plain, averaging, shape = capsys.readouterr().out.splitlines()
    assert "fail: " in plain
    assert "warn: " in averaging
    assert shape == "torch.Size([2, 1, 1, 8])"


def test_example_of_a_reproduction_runs(capsys, tmp_path, monkeypatch):
    # As a module: records look up the types of their fields there.
    (tmp_path / "width_reproduction.py").write_text("".join(examples("docs/reproduce.md")))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("width_reproduction")
    assert capsys.readouterr().out == "True {'accuracy': 0.805}\n"


def test_examples_of_transfer_run(capsys):
    for code in examples("docs/transfer.md"):
        exec(compile(code, "docs/transfer.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].endswith("(1, 8, 8)")


def test_examples_of_training_run(capsys):
    for code in examples("docs/training.md"):
        exec(compile(code, "docs/training.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0].endswith("(8.0, 8.0)")


def test_examples_of_uncertainty_run(capsys):
    for page in ("docs/ood.md", "docs/ensembles.md"):
        for code in examples(page):
            exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out == "True True\nTrue torch.Size([5])\n"


def test_attack_in_contributing_is_the_real_one():
    source = (ROOT / "src/holdfast/attacks/fgsm.py").read_text()
    assert any(code.strip() in source and "class FGSM" in code for code in examples("CONTRIBUTING.md"))


def test_run_folder_page_names_all_that_a_run_leaves(tmp_path):
    from safetensors import safe_open

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    pictures, attack = holdfast.data.load("digits", limit=8), holdfast.FGSM()
    made = holdfast.evaluate.evaluate(model, pictures, holdfast.Linf(eps=0.2), attack, out=tmp_path / "run", batch=8)
    holdfast.report.write([made.run])
    page = (ROOT / "docs/run-folder.md").read_text()
    with safe_open(made.run / "shards/00000.safetensors", framework="pt") as shard:
        tensors = list(shard.keys())
    files = [path.relative_to(made.run).as_posix() for path in made.run.rglob("*") if path.is_file()]
    assert not [name for name in [*files, *tensors] if f"`{name}`" not in page]
    assert not [name for name in made.summary if f'"{name}"' not in page]


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert holdfast.__version__ == project["version"]


def test_tested_versions_cover_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert {re.match(r"[\w-]+", line)[0].lower() for line in wanted} <= pinned
    assert "torch==2.13.0" in lines


# Brackets keep this list from finding itself.
ELSEWHERE = re.compile(
    r"p[y]pi\.org|p[y]thonhosted|d[e]bian\.org|n[p]mjs|/o[p]t/|/r[o]ot/|/h[o]me/\w|/U[s]ers/\w|/t[m]p/[a-z]|\.\./s[h]ared"
)
NOT_OURS = {".git", ".venv", ".ci", "site", "runs", "build", "dist", "__pycache__"}


def test_the_tree_names_no_machine():
    """No path of the machine it was written on, no package registry: the project stands alone."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith(("_cache", ".egg-info"))]
        folders[:] = [name for name in folders if name != ".hypothesis"]
        for name in files:
            path = Path(folder, name)
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except UnicodeDecodeError:
                continue
            found += [f"{path}:{number}" for number, line in enumerate(lines, 1) if ELSEWHERE.search(line)]
    assert not found


@pytest.fixture
def checkout(tmp_path):
    """The files that decide whether an environment is stale, with one that looks fresh."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/.made-in").write_text(f"{tmp_path.resolve()}\n")
    for age, name in enumerate((".made-in", ".base", ".test-check", ".docs", ".bridges", ".peers")):
        (tmp_path / ".venv" / name).touch()
        os.utime(tmp_path / ".venv" / name, (2e9 - 10 + age, 2e9 - 10 + age))
    return tmp_path


def plan(folder: Path, target: str) -> str:
    """What make would do."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--no-print-directory", "-C", str(folder), target]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=clean).stdout


@pytest.mark.make
@pytest.mark.parametrize("target", ["venv", "demo", "test", "check", "docs", "bridges", "peers", "bench"])
def test_make_starts_at_once_in_a_fresh_environment(checkout, target):
    assert "pip install" not in plan(checkout, target)


@pytest.mark.make
@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_make_installs_again_when_the_environment_is_stale(checkout, name):
    os.utime(checkout / name, (2.1e9, 2.1e9))
    told = plan(checkout, "test")
    assert "pip install" in told
    assert "-c constraints.txt" in told
    assert "-m venv" not in told


@pytest.mark.make
@pytest.mark.parametrize("harm", ["gone", "moved", "python gone"])
def test_make_starts_over_without_a_usable_environment(checkout, harm):
    if harm == "gone":
        shutil.rmtree(checkout / ".venv")
    elif harm == "moved":
        checkout = checkout.rename(checkout.with_name("elsewhere"))
    else:
        (checkout / ".venv/bin/python").unlink()
    told = plan(checkout, "demo")
    assert "-m venv --clear .venv" in told
    assert "pip install" in told


def test_required_tests_must_not_be_skipped(tmp_path):
    """In a project of its own with our conftest.py, where no real data are found and no test opens a browser."""
    for name in ("tests/conftest.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests/test_it.py").write_text("import pytest\n@pytest.mark.data\ndef test_data(): pass\n")
    around = {**os.environ, "HOLDFAST_REQUIRE": "data,browser", "HOLDFAST_DATA": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=around, capture_output=True, text=True, check=False)
    assert "HOLDFAST_REQUIRE=data, but Skipped: needs real data" in done.stdout
    assert "HOLDFAST_REQUIRE=browser, but no test marked browser has run" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


def test_required_tests_that_are_nowhere_fail_an_otherwise_green_run(monkeypatch, request):
    """A module that is skipped whole leaves no report to turn into a failure."""
    conftest = request.config.pluginmanager.get_plugin(str(ROOT / "tests/conftest.py"))
    option = SimpleNamespace(keyword="", collectonly=False)
    config = SimpleNamespace(args_source=pytest.Config.ArgsSource.TESTPATHS, option=option)
    monkeypatch.setattr(conftest, "REQUIRED", frozenset({"data"}))
    for have_run, wanted in ((set(), pytest.ExitCode.TESTS_FAILED), ({"data"}, pytest.ExitCode.OK)):
        monkeypatch.setattr(conftest, "have_run", have_run)
        session = SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
        conftest.pytest_sessionfinish(session, pytest.ExitCode.OK)
        assert session.exitstatus == wanted
