"""Attacked pictures as files: PNGs to look at, arrays to compute with, a JSON file that says what they are."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import RunError
from holdfast.files import dump_json, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.attacks import AttackResult
    from holdfast.data import Pictures
    from holdfast.evaluate import Verdict
    from holdfast.threats import AnyThreat


def new_folder(path: Path) -> Path:
    """`path`, if nothing lies there and it can be made; it is not made yet, so that a command refused leaves none.

    Raises: `RunError` for a file, a folder in use, or a place that cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        what = "is not empty" if path.is_dir() else "is a file"
        raise RunError(f"{str(path)!r} {what}; allowed: a new folder. Name another --out.")
    check_place(path)
    return path


def check_place(path: Path, what: str = "folder") -> None:
    """Raise `RunError` where no such file or folder can be made."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    try:
        # Rights alone do not tell: some file systems take nothing from those who may do all.
        with TemporaryDirectory(dir=there, prefix=".holdfast-"):
            pass
    except OSError as error:
        raise RunError(
            f"{str(path)!r} cannot be made: {str(there)!r}: {error.strerror or error}; allowed: a new {what} where "
            "files can be written. Name another --out."
        ) from error


def write(
    folder: Path,
    pictures: "Pictures",
    found: "AttackResult",
    verdict: "Verdict",
    arrays: Literal["npz", "safetensors"],
    threat: "AnyThreat",
) -> dict[str, Any]:
    """Write everything into `folder`; returns what attack.json holds.

    Files: PLACE-original.png, -adversarial.png (both rounded to 8 bits) and -difference.png (grey is no change,
    stretched to the largest one) for each picture; arrays.npz or arrays.safetensors with the exact values.
    """
    tensors = columns(pictures, found, verdict)
    write_atomically(folder / f"arrays.{arrays}", packed(tensors, arrays))
    span = threat.high - threat.low
    kinds = {"original": tensors["x"], "adversarial": tensors["x_adv"]}
    scaled = {kind: (value - threat.low) / span for kind, value in kinds.items()}
    scaled["difference"] = stretched(tensors["delta"])
    for row, place in enumerate(pictures.place.tolist()):
        for kind, values in scaled.items():
            write_atomically(folder / f"{place:05d}-{kind}.png", png(values[row]))
    plain = described(folder, pictures, verdict, threat, f"arrays.{arrays}")
    write_atomically(folder / "attack.json", dump_json(plain))
    return plain


def columns(pictures: "Pictures", found: "AttackResult", verdict: "Verdict") -> "dict[str, Tensor]":
    """The arrays by name, one row a picture, on the CPU."""
    x, x_adv = pictures.x(dtype=found.x_adv.dtype), found.x_adv.cpu()
    rendered = {} if found.parameters is None else {"parameters": found.parameters.cpu()}
    return {
        **rendered,
        "x": x,
        "x_adv": x_adv,
        "delta": x_adv - x,
        "label": pictures.labels,
        "place": pictures.place,
        "prediction": verdict.prediction.cpu(),
        "prediction_adv": verdict.prediction_adv.cpu(),
        "success": verdict.success.cpu(),
        "start_wrong": verdict.start_wrong.cpu(),
        "size": verdict.size.cpu(),
    }


def packed(tensors: "dict[str, Tensor]", arrays: Literal["npz", "safetensors"]) -> bytes:
    """All arrays as one file's content."""
    if arrays == "safetensors":
        from safetensors.torch import save

        content: bytes = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        return content
    import numpy as np

    buffer = io.BytesIO()
    columns: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(buffer, **columns)
    return buffer.getvalue()


def stretched(delta: "Tensor") -> "Tensor":
    """Differences (N, C, H, W) as pictures in [0, 1]: 0.5 is no change, each stretched to its own largest one."""
    largest = delta.abs().flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return 0.5 + delta / (2 * largest)


def png(picture: "Tensor") -> bytes:
    """A picture (C, H, W) in [0, 1] as PNG: grey for one channel, colours for three.

    Raises: `RunError` for another number of channels, of which no PNG can be made.
    """
    from PIL import Image

    if len(picture) not in (1, 3):
        raise RunError(f"pictures of {len(picture)} channels cannot be PNGs; allowed: 1 or 3.")
    values = (picture.double().clamp(0, 1) * 255).round().byte()
    image = Image.fromarray(values[0].numpy() if len(values) == 1 else values.permute(1, 2, 0).numpy())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def described(
    folder: Path, pictures: "Pictures", verdict: "Verdict", threat: "AnyThreat", arrays: str
) -> dict[str, Any]:
    """What attack.json and --json hold."""
    from holdfast import threats

    right = ~verdict.start_wrong
    return {
        "format": 1,
        "run": str(folder),
        "data": {"name": pictures.name, "split": pictures.split, "n": len(pictures)},
        "threat": {**threats.plain(threat), "eps": float(threat.eps)},
        "n": len(pictures),
        "right_before": int(right.sum()),
        "broken": int((verdict.success & right).sum()),
        "broken_8bit": int((verdict.success_8bit & right).sum()),
        "arrays": arrays,
        "pictures": [f"{place:05d}" for place in pictures.place.tolist()],
    }
