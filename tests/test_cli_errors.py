"""Bad input gets one clear line on stderr and the right exit code; Ctrl-C and a closed pipe lose nothing."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from command_line import call, refused
from holdfast import data, train
from holdfast.cli import app, given, group
from holdfast.cli.pictures import new_folder
from holdfast.cli.screen import Bar, Lines, Screen, duration
from holdfast.errors import OptionError
from holdfast.train import Recipe, TrainOptions, card_for

FAST = "--attack pgd --set steps=2 --no-checks --no-report"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Models and data, good and bad."""
    folder = tmp_path_factory.mktemp("input")
    pictures = data.load("digits", "train", limit=100)
    train.train(
        card_for("linear", pictures),
        pictures,
        recipe=Recipe(options=TrainOptions(epochs=1, batch=len(pictures))),
        out=folder / "good",
    )
    (folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def good():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "def nan():\n    return lambda x: x.flatten(1)[:, :10] * float('nan')\n"
        "def nan_sometimes():\n"
        "    return lambda x: torch.where(x.flatten(1).sum(1, keepdim=True) == 32, 0.5, x.flatten(1)[:, :10] / 0)\n"
        "def narrow():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "def wide_open():\n    return nn.Linear(5, 2)\n"
        "def fails():\n    raise ValueError('no such thing')\n"
    )
    torch.save(Code(), folder / "code.pt")
    torch.save({"1.weight": torch.zeros(10, 60), "1.bias": torch.zeros(10)}, folder / "misfit.pt")
    (folder / "damaged.safetensors").write_bytes(b'\x08\0\0\0\0\0\0\0{"a":1}')
    mnist = folder / "corrupt" / "mnist"
    mnist.mkdir(parents=True)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (mnist / name).write_bytes(gzip.compress(b"\0\0\x08\x03 not the published bytes"))
    (folder / "no pictures" / "a").mkdir(parents=True)
    (folder / "no pictures" / "a" / "x.txt").write_text("x")
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    return folder


@dataclass
class Code:
    """Unpickled only by running code."""

    value: int = 1


EVALUATE = f"evaluate --limit 5 --out {{}}/never {FAST}"
GOOD = f"{EVALUATE} --model {{}}/good --data digits --eps 0.1"

# What is typed, the exit code, and what the line must say; {} is the folder of `place`.
BAD = {
    "unknown command": ("evalute", 2, "Did you mean 'evaluate'?"),
    "unknown flag": (f"{GOOD} --epz 1", 2, "--epz"),
    "missing flag": ("evaluate --data digits", 2, "--help"),
    "not a number": (f"{GOOD} --limit many", 2, "integer. See `holdfast evaluate --help`"),
    "eps text": (f"{EVALUATE} --model {{}}/good --data digits --eps 8/x", 2, "--eps '8/x'; allowed: numbers"),
    "eps zero division": (f"{EVALUATE} --model {{}}/good --data digits --eps 8/0", 2, "--eps '8/0'"),
    "eps too large": (f"{EVALUATE} --model {{}}/good --data digits --eps 8", 2, "pass eps=8/255"),
    "eps larger than the box": (
        f"{EVALUATE} --model {{}}/good --data digits --threat l2 --eps 9",
        2,
        "eps=9; allowed: up to 8",
    ),
    "eps twice": (f"{EVALUATE} --model {{}}/good --data digits --eps 0.1,0.1", 2, "each named once"),
    "box": (f"{GOOD} --low 1 --high 0", 2, "low < high"),
    "pictures outside the box": (f"{GOOD} --high 0.5", 1, "allowed: the threat's box"),
    "unknown option of a threat": (f"{GOOD} --threat-set wide=3", 2, "unknown option of Linf 'wide'"),
    "radius among the options of a threat": (
        f"{GOOD} --threat-set eps=3",
        2,
        "threat option eps='3'; allowed: as --eps",
    ),
    "option of a threat without an attack": (
        "train --data digits --model linear --threat-set wide=3",
        2,
        "--threat-set without --adversarial",
    ),
    "unknown threat": (f"{GOOD} --threat linv", 2, "Did you mean 'linf'"),
    "unknown attack": (f"{GOOD} --attack pdg", 2, "unknown attack 'pdg'"),
    "unknown suite": (
        "evaluate --model {}/good --data digits --eps 0.1 --suite quik --out {}/never",
        2,
        "Did you mean 'quick'",
    ),
    "attack and suite": (f"{GOOD} --suite quick", 2, "--attack pgd and --suite quick; allowed: one"),
    "set without attack": (
        "evaluate --model {}/good --data digits --eps 0.1 --set steps=3",
        2,
        "--set steps=... without --attack",
    ),
    "set without value": (f"{GOOD} --set steps", 2, "--set 'steps'; allowed: NAME=VALUE"),
    "set twice": (f"{GOOD} --set steps=3", 2, "steps is given twice"),
    "unknown option": (f"{GOOD} --set stepz=3", 2, "Did you mean 'steps'"),
    "option's value": (f"{GOOD} --set restarts=few", 2, "restarts='few'; allowed: a whole number"),
    "option's range": (f"{GOOD} --set restarts=0", 2, "restarts=0"),
    "unknown data": (f"{EVALUATE} --model {{}}/good --eps 0.1 --data digitz", 2, "Did you mean 'digits'"),
    "gate text": (f"{GOOD} --at-least half", 2, "--at-least 'half'; allowed"),
    "gate range": (f"{GOOD} --at-least 45", 2, "--at-least '45'; allowed: a rate from 0 to 1"),
    "gate of a part": (f"{GOOD} --at-least 0.4 --shard 1/2", 2, "--at-least with --shard"),
    "junit of a part": (f"{GOOD} --junit x.xml --shard 1/2", 2, "--junit with --shard; allowed: with a whole run"),
    "junit in a folder": (f"{GOOD} --junit {{}}/empty", 1, "is a folder; allowed: a file, such as"),
    "junit under a file": (f"{GOOD} --junit {{}}/file/junit.xml", 1, "junit.xml': "),
    "unknown split": (f"{GOOD} --split tset", 2, "Did you mean 'test'"),
    "limit": (f"{GOOD} --limit 0", 2, "limit=0; allowed: 1 or more"),
    "no data folder": (
        f"{EVALUATE} --model {{}}/good --eps 0.1 --data {{}}/nowhere",
        1,
        "does not exist; allowed: a folder arranged",
    ),
    "file for data": (f"{EVALUATE} --model {{}}/good --eps 0.1 --data {{}}/file", 1, "is a file"),
    "empty data folder": (f"{EVALUATE} --model {{}}/good --eps 0.1 --data {{}}/empty", 1, "no sub-folders"),
    "no picture at all": (
        f"{EVALUATE} --model {{}}/good --eps 0.1 --data '{{}}/no pictures'",
        1,
        "is a picture, e.g. 'a/x.txt'; allowed: PNG",
    ),
    "no data dir": (f"{GOOD} --data-dir {{}}/nowhere --data mnist", 1, "--data-dir"),
    "corrupt data": (f"{GOOD} --data-dir {{}}/corrupt --data mnist", 1, "Delete it and run again"),
    "resize a set": (f"{GOOD} --resize 16", 2, "allowed: folders only"),
    "resize text": (f"{GOOD} --resize big", 2, "--resize 'big'"),
    "unknown model": (f"{EVALUATE} --data digits --eps 0.1 --model cnnn", 2, "Did you mean 'cnn'"),
    "no weights": (f"{EVALUATE} --data digits --eps 0.1 --model cnn", 2, "Train one first"),
    "no model folder": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/nowhere", 1, "no such folder"),
    "folder without a model": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/empty", 1, "holds no card.json"),
    "file for a model": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/file", 1, "is a file"),
    "no factory": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:gud", 1, "it has good"),
    "no model file": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/nat.py:good", 1, "does not exist"),
    "factory fails": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:fails", 1, "no such thing (line"),
    "NaN": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:nan", 1, "NaN"),
    "NaN on pictures": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:nan_sometimes", 1, "NaN or infinity"),
    "wrong shape": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:narrow", 1, "(2, 3)"),
    "model fails": (f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:wide_open", 1, "failed on pictures"),
    "pickle with code": (
        f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:good --weights {{}}/code.pt",
        1,
        "allowed: a state_dict, tensors only",
    ),
    "weights that do not fit": (
        f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:good --weights {{}}/misfit.pt",
        1,
        "1.weight (10, 60) instead of (10, 64)",
    ),
    "damaged weights": (
        f"{EVALUATE} --data digits --eps 0.1 --model {{}}/net.py:good --weights {{}}/damaged.safetensors",
        1,
        "not a whole safetensors file",
    ),
    "model of other pictures": (
        f"{EVALUATE} --model {{}}/good --data mnist --data-dir {{}}/mnist --eps 0.1",
        1,
        "",
    ),
    "device": (f"{GOOD} --device gpu", 2, "--device 'gpu'; allowed: auto, cpu, cuda"),
    "device not there": (f"{GOOD} --device cuda:64", 2, "PyTorch sees"),
    "batch": (f"{GOOD} --batch big", 2, "--batch 'big'; allowed: auto"),
    "batch zero": (f"{GOOD} --batch 0", 2, "--batch '0'"),
    "threads": (f"{GOOD} --threads 0", 2, "--threads"),
    "shard": (f"{GOOD} --shard 1", 2, "--shard '1'; allowed: I/N"),
    "shard range": (f"{GOOD} --shard 3/2", 2, "1 <= i <= n"),
    "out is a file": (f"{GOOD} --out {{}}/file", 1, "is a file"),
    "out cannot be written": (f"{GOOD} --out {{}}/file/run", 1, "file/run"),
    "out in use": (f"{GOOD} --out {{}}/good", 1, "is not empty"),
    "train unknown model": ("train --data digits --model cnnn --out {}/never", 2, "Did you mean 'cnn'"),
    "train epochs": ("train --data digits --model cnn --epochs 0", 2, "epochs=0; allowed: whole numbers >= 1"),
    "train both ways": (
        "train --data digits --model cnn --epochs 2 --train-set epochs=3",
        2,
        "given as --epochs and in --train-set",
    ),
    "train radius both ways": (
        "train --data digits --model cnn --adversarial pgd --eps 0.1 --threat-set eps=0.3",
        2,
        "eps is given as --eps and in --threat-set; allowed: one of the two",
    ),
    "train attack both ways": (
        "train --data digits --model cnn --adversarial pgd --eps 0.1 --set name=fgsm",
        2,
        "name is given as --adversarial and in --set",
    ),
    "train model both ways": ("train --data digits --model cnn --model-set name=mlp", 2, "given as --model and in"),
    "train nothing named": (
        "train",
        2,
        "no data and model named; allowed: by --data and --model, or in a recipe. Add --data NAME --model NAME, or",
    ),
    "train no model named": ("train --data digits", 2, "no model named; allowed: by --model, or in a recipe"),
    "augmentation without a value": (
        "train --data digits --model cnn --augment crop:pad",
        2,
        "--augment 'crop:pad'; allowed: NAME or NAME:OPTION=VALUE",
    ),
    "augmentation without options": ("train --data digits --model cnn --augment crop:,", 2, "--augment 'crop:,'"),
    "augmentation named twice": (
        "train --data digits --model cnn --augment crop:name=mirror",
        2,
        "name is given as NAME and in --augment",
    ),
    "mixup without a value": (
        "train --data digits --model cnn --mixup alpha",
        2,
        "--mixup 'alpha'; allowed: NAME=VALUE, such as --mixup alpha=1",
    ),
    "train unknown option": ("train --data digits --model cnn --train-set epoch=3", 2, "Did you mean 'epochs'"),
    "train model option": ("train --data digits --model cnn --model-set widht=3", 2, "Did you mean 'width'"),
    "train eps alone": ("train --data digits --model cnn --eps 0.1", 2, "--eps without --adversarial"),
    "train set alone": ("train --data digits --model cnn --set steps=1", 2, "--set without --adversarial"),
    "train without eps": ("train --data digits --model cnn --adversarial pgd", 2, "--adversarial without --eps"),
    "train two eps": (
        "train --data digits --model cnn --adversarial pgd --eps 0.1,0.2",
        2,
        "allowed here: one number",
    ),
    "train noise": (
        "train --data digits --model cnn --adversarial noise --eps 0.1 --out {}/never",
        2,
        "attacks by gradient",
    ),
    "train diverges": (
        "train --data digits --model linear --limit 40 --batch 40 --epochs 9 --lr 1e35 --train-set schedule=constant "
        "--train-set optimiser=sgd --no-validation --out {}/diverged",
        1,
        "no longer finite at the last step of epoch 2",
    ),
    "train in a folder in use": (
        "train --data digits --model linear --limit 40 --batch 40 --out {}/good",
        1,
        "Pass --resume",
    ),
    "train changed options": (
        "train --data digits --model linear --limit 40 --batch 40 --out {}/good --resume",
        1,
        "was begun with other options: ",
    ),
    "attack unknown class": (
        "attack --model {}/good --data digits --eps 0.1 --target eleven",
        2,
        "unknown class 'eleven'",
    ),
    "attack arrays": ("attack --model {}/good --data digits --eps 0.1 --arrays csv", 2, "csv"),
    "source unknown": (f"{GOOD} --source {{}}/nowhere", 1, "--source '"),
    "source architecture": (f"{GOOD} --source cnn", 2, "Train one first"),
    "source of other classes": (f"{GOOD} --source {{}}/net.py:narrow", 1, "(2, 3)"),
    "source of other pictures": (f"{GOOD} --source {{}}/net.py:wide_open", 1, "failed on pictures"),
    "source without attack": (
        "evaluate --model {}/good --data digits --eps 0.1 --source {}/good",
        2,
        "without --attack; allowed: with one of our own attacks",
    ),
    "source and suite": (
        "evaluate --model {}/good --data digits --eps 0.1 --source {}/good --suite quick",
        2,
        "Add --attack mi-fgsm",
    ),
    "source for a search by labels": (
        "evaluate --model {}/good --data digits --threat l2 --eps 0.1 --source {}/good --attack boundary",
        2,
        "looks for the smallest change",
    ),
    "source for another's attack": (
        "evaluate --model {}/good --data digits --eps 0.1 --source {}/good --attack {}/net.py:good",
        2,
        "with an attack of our own",
    ),
    "source without eps": (
        "attack --model {}/good --data digits --source {}/good --attack mi-fgsm",
        2,
        "mi-fgsm without --eps",
    ),
    "even kernel": (
        "evaluate --model {}/good --data digits --eps 0.1 --attack mi-fgsm --set kernel=4",
        2,
        "kernel=4; allowed: an odd whole number",
    ),
    "universal without a file": (
        "evaluate --model {}/good --data digits --eps 0.1 --attack universal --set delta={}/file --out {}/never",
        1,
        "holds no universal perturbation",
    ),
    "universal with options for a file": (
        "evaluate --model {}/good --data digits --eps 0.1 --attack universal --set delta=x --set epochs=1",
        2,
        "and --set epochs=...; allowed",
    ),
    "universal and suite": (
        "evaluate --model {}/good --data digits --eps 0.1 --attack universal --suite quick",
        2,
        "allowed: one of the two",
    ),
    "universal in L0": (
        "evaluate --model {}/good --data digits --threat l0 --eps 2 --attack universal --out {}/never",
        2,
        "universal: threat 'l0', eps=2",
    ),
    "universal without eps": (
        "attack --model {}/good --data digits --attack universal",
        2,
        "--attack universal without --eps",
    ),
    "universal of nothing": (
        "universal --model {}/good --data digits --eps 0.1 --attack univrsal",
        2,
        "Did you mean 'universal'",
    ),
    "universal target": (
        "universal --model {}/good --data digits --eps 0.1 --target eleven",
        2,
        "unknown class 'eleven'",
    ),
    "transfer without a source": ("transfer --data digits --eps 0.1", 2, "--source"),
    "transfer from a source twice": (
        "transfer --source {}/good --source {}/good --data digits --eps 0.1",
        2,
        "is given 2 times; allowed: once",
    ),
    "transfer to nowhere": (
        "transfer --source {}/good --victim {}/nowhere --data digits --eps 0.1 --out {}/never",
        1,
        "--victim '",
    ),
    "transfer at two radii": (
        "transfer --source {}/good --data digits --eps 0.1,0.2",
        2,
        "allowed here: one number",
    ),
    "transfer by labels": (
        "transfer --source {}/good --data digits --eps 0.1 --attack noise",
        2,
        "noise has no loss to climb",
    ),
    "transfer into a folder in use": (
        "transfer --source {}/good --data digits --eps 0.1 --out {}/good",
        1,
        "is not empty",
    ),
    "substitute of nothing": (
        "substitute --victim {}/nowhere --data digits --model linear --out {}/never",
        1,
        "--victim '",
    ),
    "substitute of other classes": (
        "substitute --victim {}/net.py:narrow --data digits --model linear --out {}/never",
        1,
        "(2, 3)",
    ),
    "substitute rounds": (
        "substitute --victim {}/good --data digits --model linear --rounds -1",
        2,
        "rounds=-1; allowed: a whole number from 0 up",
    ),
    "substitute model": ("substitute --victim {}/good --data digits --model cnnn", 2, "Did you mean 'cnn'"),
    "report of nothing": ("report {}/nowhere", 1, "nowhere"),
    "report of neither": ("report {}", 1, "it has no run.json and no train.json"),
    "merge of no parts": ("merge {}/good --out {}/never", 1, "holds no part"),
    "list of nothing": ("list attakcs", 2, "Did you mean 'attacks'"),
    "data of nothing": ("data fetch mnits", 2, "Did you mean 'mnist'"),
    "data show": ("data show {}/file", 1, "is a file"),
    "demo data": ("demo --data digit", 2, "Did you mean 'digits'"),
    "demo in a file": ("demo --out {}/file", 1, "is a file"),
}
NEEDS_MORE = {"model of other pictures"}  # made below, where a set of another shape is at hand


@pytest.mark.parametrize("name", [name for name in BAD if name not in NEEDS_MORE])
def test_bad_input_is_one_clear_line(place, name, monkeypatch):
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.chdir(place)
    line, code, text = BAD[name]
    result = call(line.replace("{}", str(place)))
    told = [
        line
        for line in result.stderr.splitlines()
        if not line.startswith(("training:", "epoch", "checking", "attacking"))
    ]
    assert len(told) == 1, result.stderr
    assert told[0].startswith("error: ")
    assert text in told[0]
    assert (result.exit_code, result.stdout) == (code, "")
    assert not (place / "never").exists()


def test_a_model_of_other_pictures_is_refused(place):
    from PIL import Image

    for name in "ab":
        folder = place / "colour" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8), (200, 10, 10)).save(folder / "1.png")
    result = call(f"evaluate --model {place}/good --data {place}/colour --eps 0.1 --out {place}/never {FAST}")
    assert "takes pictures of shape (1, 8, 8), the data have (3, 8, 8)" in result.stderr
    assert result.exit_code == 1


def test_errors_with_json_leave_stdout_empty(place):
    result = call(f"evaluate --model {place}/nowhere --data digits --eps 0.1 --json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")


# What is not the user's fault


def raising(monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("holdfast.data.status", broken)
    return call("data status")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(28, "No space left on device", "runs/x"), 1, "No space left on device 'runs/x'. Free some space"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: Permission denied '/x'. Check the path"),
        (MemoryError("of 9 GiB"), 1, "error: not enough memory: of 9 GiB. Try a smaller --batch"),
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), 1, "error: not enough memory: CUDA out"),
        (group.Interrupted("interrupted; go on with: x"), 130, "interrupted; go on with: x"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["disk full", "no right", "memory", "GPU memory", "interrupted", "Ctrl-C"],
)
def test_trouble_of_the_machine_is_one_line(monkeypatch, error, code, text):
    result = raising(monkeypatch, error)
    assert result.exit_code == code
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bug_shows_where_it_is(monkeypatch):
    result = raising(monkeypatch, ZeroDivisionError("oops"))
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: this was not foreseen")


def test_interrupted_runs_say_how_to_go_on(monkeypatch, place, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.evaluate.evaluate", interrupted)
    line = f"evaluate --model {place}/good --data digits --eps 0.1 --out {tmp_path}/run"
    monkeypatch.setattr(sys, "argv", ["holdfast", *line.split()])
    result = call(line)
    assert (result.exit_code, result.stderr) == (130, f"interrupted; go on with: holdfast {line} --resume\n")


OUT = {
    "detect fit": "--model {}/good --data digits",
    "detect evaluate": "--model {}/good --data digits --eps 0.1 --detector energy",
    "detect apply": "--model {}/good --data digits",
    "attack": "--model {}/good --data digits --eps 0.1 --attack pgd",
    "calibrate": "--model {}/good --data digits",
    "ood": "--model {}/good --data digits --against noise:uniform",
    "transfer": "--source {}/good --data digits --eps 0.1",
    "universal": "--model {}/good --data digits --eps 0.1",
    "ensemble": "{}/good {}/good/../good2 --by mean",
}


@pytest.mark.parametrize("command", OUT)
def test_a_folder_that_cannot_be_made_is_told_before_any_work(place, command, monkeypatch):
    for work in ("holdfast.cli.common.pictures_of", "holdfast.cli.detect._named_pictures", "holdfast.models.load"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("work began"))
    result = call(f"{command} {OUT[command]} --out {{}}/file/a/run".replace("{}", str(place)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: '{place}/file/a/run' cannot be made: '{place}/file': ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (
            "{}/file/a.pt2",
            "error: '{}/file/a.pt2' cannot be made: '{}/file': Not a directory; allowed: a new file where ",
        ),
        ("{}/net.py", "error: '{}/net.py' as the file to export to; allowed: a name that ends in .pt2 or .onnx."),
    ],
)
def test_a_file_that_cannot_be_exported_is_told_before_any_work(place, out, told, monkeypatch):
    monkeypatch.setattr("holdfast.cli.common.pictures_of", lambda *_, **__: pytest.fail("work began"))
    _, text = refused(f"export --model {{}}/good --data digits --out {out}".replace("{}", str(place)))
    assert text.startswith(told.replace("{}", str(place)))


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path, monkeypatch):
    assert new_folder(tmp_path / "a" / "run") == tmp_path / "a" / "run"
    monkeypatch.chdir(tmp_path)
    assert new_folder(Path("runs/a")) == Path("runs/a")
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_given_back(place):
    import logging

    log = logging.getLogger("holdfast")
    before = (list(log.handlers), log.level, log.propagate)
    call("list threats")
    call("list nothing")
    assert (log.handlers, log.level, log.propagate) == before


# Processes


def holdfast(*words, **options):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "holdfast", *map(str, words)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path):
    out = tmp_path / "run"
    words = ["train", "--data", "digits", "--model", "cnn", "--limit", "640", "--no-validation", "--threads", "1"]
    words += ["--epochs", "120", "--out", str(out)]
    # Whoever starts the tests in the background may have told them to ignore Ctrl-C, and children take that over.
    process = holdfast(*words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    limit = time.monotonic() + 60
    while not (out / "timing.json").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1].endswith(f"--out {out} --resume")
    assert "Traceback" not in stderr
    assert not (out / "card.json").exists()
    threads = torch.get_num_threads()
    try:
        result = CliRunner().invoke(app, [*words, "--resume", "--json"])
    finally:
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["history"]) == 120
    starts = json.loads((out / "timing.json").read_text())["starts"]
    assert [start["resumed"] for start in starts] == [False, True]
    assert sum(len(start["seconds"]) for start in starts) in (120, 121)  # at most the epoch in flight twice


def test_a_closed_pipe_leaves_no_trace():
    process = holdfast("list", "--json")
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert stderr == ""
    process.stderr.close()


def test_an_error_in_a_process_is_one_line():
    process = holdfast("evaluate", "--model", "x/y", "--data", "digits", "--eps", "0.1")
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout, len(stderr.splitlines())) == (2 - 1, "", 1)


# Small parts


@pytest.mark.parametrize(
    ("text", "expected"), [("0.1", (0.1,)), ("2/255, 8/255", (2 / 255, 8 / 255)), ("1e-2,3", (0.01, 3.0))]
)
def test_numbers_and_fractions(text, expected):
    assert given.numbers(text, "--eps") == expected


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1/0", "nan", "inf", "1/2/3"])
def test_other_texts_are_no_numbers(text):
    with pytest.raises(OptionError, match="--eps"):
        given.numbers(text, "--eps")


def test_names_of_runs():
    assert str(given.run_name("runs/plain", "digits", "linf", None)) == "runs/plain-digits-linf"
    assert str(given.run_name("my/net.py:make", "/data/my set/", "l2")) == "runs/net-make-my-set-l2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (8.24, "8.2 s"), (45, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plain_progress_is_rate_limited_and_counts_only_this_start(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("holdfast.cli.screen.perf_counter", lambda: now[0])
    screen = Screen()
    bar = Lines("pictures", screen)
    for second in range(12):
        now[0] = 100.0 + second
        bar.update(1000 + 10 * second, 2000, "attacking")
    group.stop_logging()
    assert capsys.readouterr().err.splitlines() == [
        "attacking: 1,000 of 2,000 pictures",
        "attacking: 1,050 of 2,000 pictures, 10 pictures/s, 1 min 35 s left",
        "attacking: 1,100 of 2,000 pictures, 10 pictures/s, 1 min 30 s left",
    ]


@pytest.mark.parametrize(
    ("moments", "speeds"),
    [
        # Nothing is told before it has settled, and slow work is not said to stand still.
        (((0, 0, 100, "a"), (2, 1, 100, "a"), (4, 2, 100, "a")), ("", "", "0.5 pictures/s, 3 min 16 s left")),
        # Another work begins anew: with another total, or with less done.
        (
            ((0, 0, 9, "a"), (900, 1, 9, "a"), (900, 64, 6400, "b"), (910, 164, 6400, "b")),
            ("", "10 pictures/s, 10 min 24 s left"),
        ),
        (
            ((0, 0, 90, "a"), (900, 90, 90, "a"), (910, 0, 90, "b"), (914, 40, 90, "b")),
            ("", "10 pictures/s, 5.0 s left"),
        ),
        # What comes before the first picture, such as checks, is not counted.
        (((0, 0, 90, "checks"), (500, 0, 90, "attack"), (504, 40, 90, "attack")), ("", "10 pictures/s, 5.0 s left")),
        # A pause leaves the time left as it was, and a longer one than there was says nothing.
        (
            ((0, 0, 200, "a"), (10, 100, 200, "a"), (25, 100, 200, "b"), (31, 100, 200, "b")),
            ("10 pictures/s, 10 s left", "10 pictures/s, 10 s left", ""),
        ),
    ],
)
def test_the_time_left_is_told_only_by_what_was_done_of_this_work(moments, speeds, monkeypatch):
    told = []
    monkeypatch.setattr(Bar, "show", lambda self, done, total, text, speed: told.append(speed))
    now = [0.0]
    monkeypatch.setattr("holdfast.cli.screen.perf_counter", lambda: now[0])
    bar = Bar("pictures")
    for second, done, total, text in moments:
        now[0] = 100.0 + second
        bar.update(done, total, text)
    assert tuple(told[-len(speeds) :]) == speeds


def test_a_bar_is_drawn_on_a_terminal(capsys):
    from rich.console import Console

    screen = Screen()
    screen.err = Console(stderr=True, force_terminal=True, width=100)
    with screen.progress() as bar:
        bar.update(10, 20, "attacking [x]")
    group.stop_logging()
    assert "attacking [x]" in capsys.readouterr().err
