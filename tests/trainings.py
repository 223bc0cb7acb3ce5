"""What the tests of training share: pictures of digits, a kill, and weights and files to compare."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import data
from holdfast.data import Pictures
from holdfast.train import epochs


def digits(split: str, count: int) -> Callable[[], Pictures]:
    """A fixture of the first pictures of a split, loaded once a module."""

    @pytest.fixture(scope="module")
    def pictures() -> Pictures:
        return data.load("digits", split, limit=count)

    return pictures


class Kill(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


def killing(*, after: int | None = None, at: int | None = None) -> dict[str, Any]:
    """What kills a training after so many epochs, or as soon as so many pictures are done: its callbacks."""

    def on_epoch(epoch):
        if epoch.number == after:
            raise Kill

    def progress(done, total):
        if at is not None and done >= at:
            raise Kill

    return {"on_epoch": on_epoch, "progress": progress}


@contextmanager
def kept_often() -> Iterator[None]:
    """Within, the state of a training is kept after every step; where several processes train, after every other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "SECONDS_BETWEEN_KEEPS", -1.0)
        patch.setattr(epochs, "FEW_STEPS", 1)
        yield


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what the model holds."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: nn.Module | Mapping[str, Tensor], other: nn.Module | Mapping[str, Tensor]) -> bool:
    """Whether two models, or what `weights` gave of them, are equal bit for bit."""
    one, other = (m.state_dict() if isinstance(m, nn.Module) else m for m in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def files(folder: Path) -> dict[str, bytes]:
    """All that is in the folder of a run and its sub-folders, but for the times, which differ between equal runs."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "timing.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
