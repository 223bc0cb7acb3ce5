"""`holdfast export`: a model as one file that runs without this library."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags
from holdfast.cli.screen import Screen

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.models import Opened

COMPARED = 256  # pictures


def command(
    model: flags.Model,
    data: flags.Data,
    out: Annotated[
        Path,
        flags.of_run(
            "--out",
            "-o",
            metavar="FILE.pt2|FILE.onnx",
            help="A new file: a PyTorch program, or ONNX, which needs `pip install 'holdfast[onnx]'`.",
        ),
    ],
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = COMPARED,
    resize: flags.Resize = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write a model as one file that runs without holdfast, and hold the file to the model on pictures.

    From pictures (N, C, H, W) in [0, 1] to logits; those of a guarded model have one more, of refusal. Normalisation,
    calibration and detector are inside.
    """
    from holdfast.access.borrow import float_type
    from holdfast.cli.pictures import check_place
    from holdfast.models import export
    from holdfast.models.exporting import check_path

    check_path(out)
    check_place(out, "file")
    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    opened = common.model_of(model, weights, model_set, pictures, "cpu")
    facts = told(opened, pictures)
    found = export(opened.model, out, pictures.x(dtype=float_type(opened.model)), facts)
    shape = ", ".join(map(str, pictures.shape))
    refusal = "" if facts["refused"] is None else f", number {facts['refused']} for refusal"
    screen.result(
        {**asdict(found), "path": str(found.path), **facts},
        f"{found.path}: {found.bytes / 2**20:.1f} MiB, pictures (N, {shape}) in [0, 1] to {facts['logits']} "
        f"logits{refusal}",
        f"held to the model on {found.n} {split} pictures: logits differ by at most {found.difference:.2g}, "
        f"{found.moved} predictions differ",
    )


def told(opened: "Opened", pictures: "Pictures") -> dict[str, Any]:
    """What who runs the file has to know."""
    import torch

    from holdfast import __version__
    from holdfast.models import refused_class, weights_sha256

    classes = list(pictures.classes if opened.card is None else opened.card.classes)
    refused = refused_class(opened.model)
    return {
        "model": opened.source,
        "weights_sha256": weights_sha256(opened.model),
        "shape": list(pictures.shape),
        "classes": classes,
        "logits": len(classes) + (refused is not None),
        "refused": refused,
        "holdfast": __version__,
        "torch": torch.__version__,
    }
