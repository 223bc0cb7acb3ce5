"""A kill at any moment: what is resumed ends with the bytes of a run that was left alone."""

from dataclasses import replace

import pytest
import torch

from holdfast import train
from holdfast.attacks import PGD
from holdfast.errors import ModelError
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for, epochs, folder
from trainings import Kill, digits, files, kept_often, killing

OPTIONS = TrainOptions(epochs=3, batch=20, learning_rate=0.01)
WATCHING = replace(OPTIONS, watch="validation", patience=1, learning_rate=1e-9, schedule="constant")
DRAWING = {"dropout": 0.3, "batch_norm": True}
AGAINST = Adversary(PGD(steps=2, step_size=0.5), Linf(eps=0.1))
RUNS = {
    "plain": {},
    "momentum": {"options": replace(OPTIONS, optimiser="sgd", learning_rate=0.1)},
    "ema": {"options": replace(OPTIONS, average="ema", average_decay=0.9), "net": DRAWING},
    "swa": {"options": replace(OPTIONS, average="swa", average_from=0.3), "net": DRAWING},
    "ghost": {"options": replace(OPTIONS, ghost=5), "net": DRAWING},
    "plateau": {"options": replace(OPTIONS, schedule="plateau", stalled=1, learning_rate=1e-9)},
    "cosine, clipped": {"options": replace(OPTIONS, schedule="cosine", rise=0.2, clip=0.1, decay="weights")},
    "bfloat16": {"options": replace(OPTIONS, precision="bfloat16", channels_last=True)},
    "best kept": {"options": WATCHING},
    "adversarial": {"recipe": {"adversary": AGAINST}, "net": DRAWING},
    "warming up, mixed": {"options": replace(OPTIONS, warm_up=0.5, mix=0.5), "recipe": {"adversary": AGAINST}},
}
# Pictures done: in the first epoch, at its end, in the last one.
MOMENTS = (40, 100, 260)


pictures = digits("train", 100)
validation = digits("validation", 20)


def go(out, pictures, validation, *, options=OPTIONS, net=None, recipe=None, **rest):
    made = Recipe(options=options, **(recipe or {}))
    card = card_for("cnn" if net else "mlp", pictures, net)
    return train.train(card, pictures, recipe=made, validation=validation, out=out, **rest)


def killed(out, pictures, validation, at, **rest):
    """A run whose state is kept after each step, until it has done so many pictures."""
    with kept_often(), pytest.raises(Kill):
        go(out, pictures, validation, **killing(at=at), **rest)


def resumed(out, pictures, validation, **rest):
    """What the rest of it comes to, and how many pictures were done after its first step."""
    seen = []
    found = go(out, pictures, validation, resume=True, progress=lambda done, total: seen.append(done), **rest)
    return found, seen[0]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_kill_in_an_epoch_changes_no_byte(tmp_path, pictures, validation, run):
    whole = go(tmp_path / "whole", pictures, validation, **run)
    for at in MOMENTS:
        if at >= 100 * len(whole.history):
            continue
        out = tmp_path / str(at)
        killed(out, pictures, validation, at, **run)
        rest, first = resumed(out, pictures, validation, **run)
        assert first == at + 20, "it goes on where it was"
        assert rest.history == whole.history
        assert files(out) == files(tmp_path / "whole")


def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path, pictures, validation):
    run = RUNS["adversarial"]
    go(tmp_path / "whole", pictures, validation, **run)
    killed(tmp_path / "run", pictures, validation, 40, **run)
    for at in (80, 120, 140, 200, 300):
        killed(tmp_path / "run", pictures, validation, at, resume=True, **run)
    go(tmp_path / "run", pictures, validation, resume=True, **run)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "timing.json", "model.safetensors", "card.json"])
def test_a_kill_before_any_file_changes_no_byte(tmp_path, pictures, validation, monkeypatch, name):
    go(tmp_path / "whole", pictures, validation)
    real, asked = folder.write_atomically, []

    def write(path, content):
        asked.append(path.name)
        if path.name == name and asked.count(name) == (2 if name in ("checkpoint.pt", "metrics.jsonl") else 1):
            raise Kill
        real(path, content)

    monkeypatch.setattr(folder, "write_atomically", write)
    monkeypatch.setattr("holdfast.models.cards.write_atomically", write)
    with pytest.raises(Kill):
        go(tmp_path / "run", pictures, validation)
    monkeypatch.undo()
    go(tmp_path / "run", pictures, validation, resume=True)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_the_counts_of_a_kept_epoch_are_its_own(tmp_path, pictures, validation):
    run = RUNS["adversarial"]
    killed(tmp_path / "run", pictures, validation, 160, **run)
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert (kept["step"], len(kept["history"])) == (3, 1)
    assert kept["tally"]["passes"] == [3 * 20 * 3] * 2, "three steps of an adversary's passes, and the step's own"
    assert 0 < kept["tally"]["loss"] < 60 * 2.5


def test_a_loss_that_is_not_a_number_leaves_the_last_sound_state(tmp_path, pictures, validation, monkeypatch):
    whole = go(tmp_path / "whole", pictures, validation)
    real = epochs.rate
    monkeypatch.setattr(
        epochs, "rate", lambda options, time, errors: 1e30 if time > 0.7 else real(options, time, errors)
    )
    monkeypatch.setattr(epochs, "SECONDS_BETWEEN_KEEPS", -1.0)
    with pytest.raises(ModelError) as caught:
        go(tmp_path / "run", pictures, validation)
    text = str(caught.value)
    assert "no longer finite at step" in text
    assert "in epoch 3, on the pictures at " in text
    assert "and 17 more" in text
    assert "try learning_rate=0.001 or clip=1" in text
    assert "\n" not in text
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert len(kept["history"]) == 2
    assert all(bool(value.isfinite().all()) for value in kept["model"].values())
    monkeypatch.undo()
    again = go(tmp_path / "run", pictures, validation, resume=True)
    assert again.history == whole.history
    assert files(tmp_path / "run") == files(tmp_path / "whole")
