"""The per-picture records of a run, read from its shards: light columns at once, pixels only where asked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import RunError
from holdfast.evaluate.shards import check_whole
from holdfast.report.landscape import Landscape

ONCE = ("index", "label", "prediction", "confidence")
SOUGHT = ("smallest", "smallest_prediction")  # where the smallest change was sought, whatever the radius
PER_EPS = ("prediction_adv", "confidence_adv", "success", "broken", "success_8bit", "size", "step")


@dataclass(frozen=True)
class Records:
    """Columns over all n pictures, in the order of the data set; E radii, ascending, on the first axis of tables."""

    columns: dict[str, NDArray[Any]]  # each (n,): index, label, prediction int64, confidence float32; perhaps `SOUGHT`
    tables: dict[str, NDArray[Any]]  # those of PER_EPS that were written, each (E, n)
    shard: NDArray[np.int64]  # (n,) place in `files`
    row: NDArray[np.int64]  # (n,) row within that shard
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) right before any attack."""
        right: NDArray[np.bool_] = self.columns["prediction"] == self.columns["label"]
        return right

    @property
    def broken(self) -> NDArray[np.bool_]:
        """(E, n) right before the attack and lost at this radius or a smaller one."""
        broken: NDArray[np.bool_] = self.right & self.tables["broken"].astype(bool)
        return broken

    @property
    def smallest(self) -> NDArray[np.float64] | None:
        """(n,) the size of the smallest change found, infinite for none, or None when it was not sought."""
        return self.columns.get("smallest")

    def first_eps(self) -> NDArray[np.int64]:
        """(n,) the smallest radius, by place in the curve, that breaks a picture; -1 for pictures not broken."""
        own = self.right & self.tables["success"].astype(bool)
        return np.where(own.any(0), own.argmax(0), -1)

    def cell(self, table: str, eps: int, picture: int) -> float | None:
        """One value of a table of `tables`, or None when the run does not have that table."""
        return float(self.tables[table][eps, picture]) if table in self.tables else None

    def original(self, picture: int) -> NDArray[Any]:
        """The picture (C, H, W) as it was stored, uint8 or float32."""
        row = int(self.row[picture])
        picked: NDArray[Any] = self._open(picture, lambda file: _array(file.get_slice("x")[row : row + 1][0]))
        return picked

    def adversarial(self, picture: int, eps: int) -> NDArray[Any] | None:
        """The stored adversarial picture (C, H, W) at the radius with place `eps`, -1 for beyond all, if any."""
        name = "adv.beyond" if eps < 0 else f"adv.{eps}"

        def take(file: Any) -> NDArray[Any] | None:
            if f"{name}.rows" not in set(file.keys()):
                return None
            found = np.flatnonzero(_array(file.get_tensor(f"{name}.rows")) == self.row[picture])
            if not len(found):
                return None
            place = int(found[0])
            return _array(file.get_slice(f"{name}.x")[place : place + 1][0])

        picked: NDArray[Any] | None = self._open(picture, take)
        return picked

    def landscape(self) -> Landscape | None:
        """Margins over angles and shifts, where the run has them, in its first shard."""

        def take(file: Any) -> Landscape | None:
            if "landscape.margin" not in set(file.keys()):
                return None
            return Landscape(*(_array(file.get_tensor(f"landscape.{name}")) for name in ("margin", "angle", "shift")))

        found: Landscape | None = _with_file(self.files[0], take)
        return found

    def _open(self, picture: int, take: Callable[[Any], Any]) -> Any:
        return _with_file(self.files[int(self.shard[picture])], take)


def read_records(folder: Path, eps: int) -> Records | None:
    """Read the columns of all shards in `folder`, sorted by the pictures' place in the data set.

    Args: `eps`: how many radii the run has. Returns None when there is no shard.
    Raises: `RunError` for a shard that cannot be read, is damaged, or does not hold what a shard must hold.
    """
    files = tuple(sorted(folder.glob("*.safetensors"))) if folder.is_dir() else ()
    if not files:
        return None
    for file in files:
        check_whole(file)
    parts = [_with_file(file, lambda opened: _columns(opened, eps)) for file in files]
    names = set.intersection(*(set(part) for part in parts))
    whole = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in sorted(names)}
    counts = [len(part["index"]) for part in parts]
    shard = np.repeat(np.arange(len(parts)), counts)
    row = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort(whole["index"], kind="stable")
    return Records(
        columns={name: whole[name][order] for name in (*ONCE, *SOUGHT) if name in whole},
        tables={name: whole[name][:, order] for name in PER_EPS if name in whole},
        shard=shard[order],
        row=row[order],
        files=files,
    )


def _columns(file: Any, eps: int) -> dict[str, NDArray[Any]]:
    names = set(file.keys())
    lost = [name for name in (*ONCE, "success", "broken", "x") if name not in names]
    if lost:
        raise ValueError(f"it lacks {', '.join(lost)}")
    found = {name: _array(file.get_tensor(name)) for name in (*ONCE, *SOUGHT, *PER_EPS) if name in names}
    shape = (eps, len(found["index"]))
    wrong = [name for name in PER_EPS if name in found and found[name].shape != shape]
    if wrong:
        raise ValueError(f"{wrong[0]} has shape {found[wrong[0]].shape}, expected {shape}")
    return found


def _array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array; NumPy has no bfloat16, which a model may take its pictures in."""
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _with_file(path: Path, take: Callable[[Any], Any]) -> Any:
    """Open a shard and read from it; any failure becomes one line that names the shard."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return take(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(
            f"cannot read shard {str(path)!r}: {error}. "
            "Delete this shard and summary.json, then run `holdfast evaluate ... --resume`."
        ) from error
