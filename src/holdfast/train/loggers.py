"""Where the figures of each epoch may go besides metrics.jsonl: packages that are asked for only when named."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from holdfast.errors import OptionError, unknown
from holdfast.files import dotted
from holdfast.train.history import Epoch


class Logger(Protocol):
    """Told of a training from beginning to end, in the first of several processes. A resumed run begins once more."""

    def begin(self, recipe: Mapping[str, Any]) -> None:
        """The recipe as train.json has it."""
        ...

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over."""
        ...

    def end(self) -> None:
        """So is the training, perhaps by an error."""
        ...


def scalars(epoch: Epoch) -> dict[str, float]:
    """The figures of an epoch by name: loss, shares right, step size, passes a picture, statistics.

    >>> from holdfast.train.history import Count
    >>> scalars(Epoch(1, 0.5, Count(3, 4), None, None, 0.1))
    {'loss': 0.5, 'accuracy/train': 0.75, 'learning_rate': 0.1}
    """
    counts = {"train": epoch.train, "validation": epoch.validation, "robust": epoch.robust}
    found = {"loss": epoch.loss}
    found |= {f"accuracy/{name}": count.rate for name, count in counts.items() if count is not None}
    if epoch.learning_rate is not None:
        found["learning_rate"] = epoch.learning_rate
    if epoch.passes is not None:
        found |= {"passes/forward": epoch.passes[0], "passes/backward": epoch.passes[1]}
    for name, (mean, largest) in epoch.figures.items():
        found |= {f"{name}/mean": mean, f"{name}/largest": largest}
    return found


@dataclass
class TensorBoard:
    """Event files in a folder, for `tensorboard --logdir`."""

    folder: Path
    _writer: Any = field(default=None, init=False, repr=False)

    def begin(self, recipe: Mapping[str, Any]) -> None:
        """Open a file of its own for this start, and note the recipe as text."""
        self._writer = needed("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(self.folder))
        text = "\n".join(f"    {name} = {value}" for name, value in dotted(recipe).items())
        self._writer.add_text("recipe", text, 0)

    def epoch(self, epoch: Epoch) -> None:
        """One point of every curve."""
        for name, value in scalars(epoch).items():
            self._writer.add_scalar(name, value, epoch.number)
        self._writer.flush()

    def end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


@dataclass
class MLflow:
    """A run of MLflow named after the folder; where it goes is MLflow's own setting, MLFLOW_TRACKING_URI."""

    folder: Path
    _mlflow: Any = field(default=None, init=False, repr=False)

    def begin(self, recipe: Mapping[str, Any]) -> None:
        """Start a run with the recipe as its parameters."""
        mlflow = needed("mlflow", "mlflow")
        mlflow.start_run(run_name=self.folder.name)
        self._mlflow = mlflow
        mlflow.log_params({name: str(value)[:500] for name, value in dotted(recipe).items()})  # no longer ones allowed

    def epoch(self, epoch: Epoch) -> None:
        """One point of every curve."""
        self._mlflow.log_metrics(scalars(epoch), step=epoch.number)

    def end(self) -> None:
        """End the run."""
        if self._mlflow is not None:
            self._mlflow.end_run()


LOGGERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def logger(name: str, folder: Path | str) -> Logger:
    """The logger of that name, for the run in a folder; TensorBoard writes into its `tensorboard`, MLflow elsewhere.

    Raises: `OptionError` for an unknown name.
    """
    if name not in LOGGERS:
        raise unknown("logger", name, LOGGERS)
    path = Path(folder)
    return LOGGERS[name](path / name if name == "tensorboard" else path)


def needed(module: str, extra: str) -> Any:
    """The module. Raises: `OptionError` where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionError(
            f"log {extra!r}: its package is not installed ({error}); allowed: with it, or without this log. "
            f"Run pip install 'holdfast[{extra}]'."
        ) from error
