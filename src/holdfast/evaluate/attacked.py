"""The pictures that an attack or an evaluation left in its folder."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holdfast.data import Pictures
from holdfast.errors import RunError
from holdfast.files import read_object


def is_attacked(folder: Path) -> bool:
    """Whether the folder is one that `holdfast attack` or `holdfast evaluate` wrote."""
    return (folder / "attack.json").is_file() or (folder / "run.json").is_file()


def attacked(folder: Path, classes: tuple[str, ...]) -> Pictures:
    """The adversarial pictures in a folder: those that were right before and are wrong now, verified.

    Of an evaluation, those broken at its largest radius. `classes` are the names of the data's classes; labels are the
    true ones. Raises: `RunError` for a folder that is damaged, or in which no picture was broken.
    """
    x_adv, labels, place = (_of_attack if (folder / "attack.json").is_file() else _of_evaluation)(folder)
    if not len(x_adv):
        raise RunError(f"{str(folder)!r} holds no picture that the attack broke. Attack more pictures, or harder.")
    if int(labels.max()) >= len(classes):
        raise RunError(f"{str(folder)!r} is of other data: label {int(labels.max())} of {len(classes)} classes.")
    return Pictures(f"attacked:{folder.resolve().name}", "test", x_adv.float(), labels, classes, place)


def _of_attack(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    from safetensors.torch import load_file

    file = folder / str(read_object(folder / "attack.json").get("arrays"))
    try:
        found = load_file(file) if file.suffix == ".safetensors" else _npz(file)
        kept = found["success"] & ~found["start_wrong"]
        return found["x_adv"][kept], found["label"][kept], found["place"][kept]
    except Exception as error:  # whatever a damaged archive makes its reader raise
        raise RunError(f"{str(file)!r} cannot be read ({type(error).__name__}). Attack again.") from error


def _npz(file: Path) -> dict[str, Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _of_evaluation(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    from safetensors.torch import load_file

    parts = []
    files = sorted((folder / "shards").glob("*.safetensors"))
    if not files:
        raise RunError(f"{str(folder)!r} has no shards; allowed: the whole folder of an evaluation that is finished.")
    for file in files:
        try:
            found = load_file(file)
            largest = len(found["success"]) - 1
            rows = found[f"adv.{largest}.rows"]
            right = (found["prediction"] == found["label"])[rows]
            parts.append((found[f"adv.{largest}.x"][right], found["label"][rows][right], found["index"][rows][right]))
        except Exception as error:  # as above
            raise RunError(f"{str(file)!r} cannot be read ({error!r}). Resume the evaluation to mend it.") from error
    x_adv, labels, place = (torch.cat(column) for column in zip(*parts, strict=True))
    return x_adv, labels, place
