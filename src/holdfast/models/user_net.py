"""A user's own architecture among those of the library: a file and a factory in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from holdfast.errors import ModelError
from holdfast.files import sha256_of_file
from holdfast.models.parts import Shape
from holdfast.models.user import load_user
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class UserNet:
    """What a function without arguments in a Python file makes, such as `nets.py:small`.

    A card keeps the file's hash. Building the model runs the file, so one that has changed since is refused: the
    weights may not be meant for it, and nobody has looked at it.
    """

    source: str = option("", "FILE.py:FACTORY, seen from the folder that the command runs in")
    sha256: str | None = option(None, "of the file that the weights were made with; none: any")
    least: ClassVar[int] = 1

    def network(self, shape: Shape, classes: int) -> nn.Module:
        """A fresh module. Raises: `ModelError` for a file that is missing, fails, or is another one."""
        file = Path(self.source.rpartition(":")[0])
        if self.sha256 is not None and file.is_file() and sha256_of_file(file) != self.sha256:
            raise ModelError(
                f"model {self.source!r}: the file has changed since the model was trained. Bring back the one that "
                f"it was trained with, or pass --model {self.source} --weights RUN/model.safetensors for the new one."
            )
        with torch.device("cpu"):  # a user's code need not know how to be built without memory
            return load_user(self.source)


def sha256_of(source: str) -> str:
    """Hex SHA-256 of the file in FILE.py:FACTORY. Raises: `ModelError` when there is none."""
    file = Path(source.rpartition(":")[0])
    if not file.is_file():
        raise ModelError(f"model {source!r}: the file {str(file)!r} does not exist, seen from {str(Path.cwd())!r}.")
    return sha256_of_file(file)
