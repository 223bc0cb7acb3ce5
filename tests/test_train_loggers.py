"""Figures that go elsewhere too: what is told, once, to the end, and what is said where the package is missing."""

import sys
from types import ModuleType

import pytest

from holdfast import train
from holdfast.errors import OptionError
from holdfast.train import Count, Epoch, MLflow, Recipe, TensorBoard, TrainOptions, card_for, logger
from holdfast.train.loggers import scalars
from trainings import digits

TWO = Recipe(options=TrainOptions(epochs=2, batch=50))


pictures = digits("train", 100)


class Said(ModuleType):
    """A module that notes what it is asked; its functions and classes alike answer with itself."""

    def __init__(self, name):
        super().__init__(name)
        self.told = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def note(*given, **named):
            self.told.append((name, *given, *named.values()))
            return self

        return note


def test_every_figure_of_an_epoch_has_a_name():
    epoch = Epoch(3, 0.5, Count(1, 2), Count(3, 4), Count(1, 4), 0.1, (4.0, 3.0), {"slope": (1.0, 2.0)})
    assert scalars(epoch) == {
        "loss": 0.5,
        "accuracy/train": 0.5,
        "accuracy/validation": 0.75,
        "accuracy/robust": 0.25,
        "learning_rate": 0.1,
        "passes/forward": 4.0,
        "passes/backward": 3.0,
        "slope/mean": 1.0,
        "slope/largest": 2.0,
    }


def test_tensorboard_is_told_of_every_epoch(pictures, tmp_path, monkeypatch):
    said = Said("torch.utils.tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", said)
    found = train.train(
        card_for("linear", pictures), pictures, recipe=TWO, loggers=[logger("tensorboard", tmp_path / "run")]
    )
    assert said.told[0] == ("SummaryWriter", str(tmp_path / "run" / "tensorboard"))
    assert said.told[1][:2] == ("add_text", "recipe")
    assert "    options.epochs = 2\n" in said.told[1][2]
    points = [told[1:] for told in said.told if told[0] == "add_scalar"]
    assert points == [(name, value, epoch.number) for epoch in found.history for name, value in scalars(epoch).items()]
    assert said.told[-1] == ("close",)


def test_mlflow_has_a_run_with_recipe_and_figures(pictures, tmp_path, monkeypatch):
    said = Said("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", said)
    found = train.train(
        card_for("linear", pictures), pictures, recipe=TWO, loggers=[logger("mlflow", tmp_path / "run")]
    )
    names = [one[0] for one in said.told]
    assert names == ["start_run", "log_params", "log_metrics", "log_metrics", "end_run"]
    assert said.told[0][1] == "run"
    assert said.told[1][1]["options.optimiser"] == "adamw"
    assert [one[1:] for one in said.told[2:4]] == [(scalars(epoch), epoch.number) for epoch in found.history]


def test_the_end_is_told_after_an_error(pictures, tmp_path, monkeypatch):
    said = Said("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", said)

    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(
            card_for("linear", pictures), pictures, recipe=TWO, loggers=[MLflow(tmp_path / "run")], on_epoch=stop
        )
    assert [told[0] for told in said.told] == ["start_run", "log_params", "log_metrics", "end_run"]


@pytest.mark.parametrize(
    ("made", "module", "text"),
    [
        (TensorBoard, "torch.utils.tensorboard", r"log 'tensorboard': .*pip install 'holdfast\[tensorboard\]'"),
        (MLflow, "mlflow", r"log 'mlflow': its package is not installed .*pip install 'holdfast\[mlflow\]'"),
    ],
)
def test_a_missing_package_is_told_before_anything_is_trained(pictures, tmp_path, monkeypatch, made, module, text):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match=text) as caught:
        train.train(
            card_for("linear", pictures),
            pictures,
            recipe=TWO,
            loggers=[made(tmp_path / "log")],
            progress=lambda done, total: pytest.fail("trained"),
        )
    assert "\n" not in str(caught.value)


def test_an_unknown_logger_is_refused(tmp_path):
    with pytest.raises(OptionError, match="unknown logger 'tensorbord'; known: mlflow, tensorboard"):
        logger("tensorbord", tmp_path)
