"""A model as one file that other programs run without this library: a PyTorch program (.pt2), or ONNX."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError, ModelError, OptionError
from holdfast.files import write_atomically
from holdfast.models.defended import random_steps
from holdfast.models.steps import Step

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FACTS = "holdfast.json"  # the name under which both kinds of file hold what is told of the model
TRACED = 3  # pictures the model is traced with: 1 and 2 are sizes that PyTorch likes to take for constants
TOLERANCE = 1e-4  # of logits, absolute and relative: other programs add up in another order

Answer = Callable[[Tensor], Tensor]
"""Pictures (N, C, H, W) to logits (N, K)."""


@dataclass(frozen=True)
class Exported:
    """A file, and how it was held to the model."""

    path: Path
    bytes: int
    n: int  # pictures compared
    difference: float  # the largest, of logits
    moved: int  # pictures whose largest logit is another one: those where two are as good as equal


def export(model: nn.Module, path: Path | str, x: Tensor, facts: Mapping[str, Any] | None = None) -> Exported:
    """Write `model` as one file from pictures (N, C, H, W) to logits (N, K), for any N, and hold it to the model.

    The file is read back and must say of `x` what the model says, asked about one picture, two others, and all: each
    logit within 1e-4 (1 + its size).
    A guarded model gives its K + 1 logits; a gradient that a detector takes is written out as ordinary operations.
    Args: `model` is left as it is, a copy of it is traced; `path` ends in .pt2 (PyTorch, `torch.export.load`) or .onnx;
    `x` 3 pictures or more in [0, 1], of the model's float type, on the CPU; `facts` plain JSON, kept in the file as
    `holdfast.json`.
    Raises: `OptionError` for another ending, a file that is there already, or fewer pictures; `ModelError` for a model
    that is random, fails on `x`, cannot be traced, has an operation that the format lacks, or answers otherwise once
    written; `RunError` where the file cannot be written.
    Cost: some ten passes for tracing, and two for each picture of `x`.
    """
    path = Path(path)
    check_path(path)
    if len(x) < TRACED:
        raise OptionError(f"{len(x)} pictures to hold the file to; allowed: {TRACED} or more.")
    if drawn := random_steps(model):
        raise ModelError(
            f"the model is random, in {', '.join(drawn)}; allowed: one that says the same of a picture every time, "
            "which a file can be held to."
        )
    write, read = WAYS[path.suffix]
    with torch.no_grad(), _quiet():
        # Asked before it is traced: masks of dropout and the like are drawn now, and are constants then.
        taken, wanted = _asked(model, x)
        content = write(_program(taken, x[:TRACED]), x[:TRACED], facts or {})
        difference, moved = _compared(wanted, partial(read, content), x, path)
    write_atomically(path, content)
    return Exported(path, len(content), len(x), difference, moved)


def check_path(path: Path) -> None:
    """Raise `OptionError` for a file that is there already, or of a kind that no model is written as."""
    if path.suffix not in WAYS:
        raise OptionError(f"{str(path)!r} as the file to export to; allowed: a name that ends in {' or '.join(WAYS)}.")
    if path.exists():
        raise OptionError(f"{str(path)!r} is there already; allowed: a new file. Choose another, or move that away.")


def _asked(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of the model on the CPU, in evaluation mode, and its logits (N, K)."""
    try:
        taken = copy.deepcopy(model).cpu().eval()
        return taken, taken(x)
    except HoldfastError:
        raise
    except Exception as error:
        raise ModelError(
            f"a copy of the model on the CPU fails on pictures {tuple(x.shape)} of {x.dtype} ({_told(error)}); "
            "allowed: a model that can be copied, and pictures on the CPU of its shape and float type."
        ) from error


def _program(model: nn.Module, x: Tensor) -> "ExportedProgram":
    """The operations of a model that may be changed, those of gradients it takes itself among them."""
    from torch.fx.experimental.proxy_tensor import make_fx

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, Step):
            part.checks = False  # a check asks for a value, and while a model is traced there are none
    try:
        # `torch.export` alone follows no gradient that is taken on the way; this does, and writes its operations down.
        operations = make_fx(model, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
        return torch.export.export(operations, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except HoldfastError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model cannot be traced ({_told(error)}); allowed: one whose operations are all PyTorch's and do not "
            "hang on the values of pictures."
        ) from error


def _write_program(program: "ExportedProgram", x: Tensor, facts: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={FACTS: json.dumps(facts)})
    return content.getvalue()


def _read_program(content: bytes) -> Answer:
    return torch.export.load(io.BytesIO(content)).module()


def _write_onnx(program: "ExportedProgram", x: Tensor, facts: Mapping[str, Any]) -> bytes:
    _onnx()
    try:
        made = torch.onnx.export(
            program, (x,), dynamo=True, verbose=False, input_names=["pictures"], output_names=["logits"]
        )
    except Exception as error:
        raise ModelError(
            f"the model has an operation that ONNX does not know ({_told(error)}); allowed: a model without it. Export "
            "to a .pt2 file, which knows them all."
        ) from error
    assert made is not None
    proto = made.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = FACTS, json.dumps(facts)
    content: bytes = proto.SerializeToString()
    return content


def _read_onnx(content: bytes) -> Answer:
    session = _onnx().InferenceSession(content, providers=["CPUExecutionProvider"])
    (pictures,) = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {pictures.name: x.numpy()})[0])


def _onnx() -> Any:
    """What runs ONNX. Raises: `ModelError` where a package that it, or writing it, needs is not there."""
    try:
        import_module("onnxscript")  # by which PyTorch writes the format
        return import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(
            f"export to ONNX needs the package {error.name}, which is not installed; allowed: a .pt2 file, which needs "
            "none. Run pip install 'holdfast[onnx]'."
        ) from error


WAYS: dict[str, tuple[Callable[..., bytes], Callable[[bytes], Answer]]] = {
    ".pt2": (_write_program, _read_program),
    ".onnx": (_write_onnx, _read_onnx),
}


def _compared(wanted: Tensor, read: Callable[[], Answer], x: Tensor, path: Path) -> tuple[float, int]:
    """The largest difference of logits, and how many pictures are taken for something else.

    Raises: `ModelError` where the file says something else of one picture, of two, or of all.
    """
    try:
        written = read()
    except Exception as error:
        raise ModelError(
            f"the file for {str(path)!r} cannot be read back ({_told(error)}); allowed: a model that can. Nothing was "
            "written. Export to the other kind of file, or convert the model by float()."
        ) from error
    try:
        answers = [written(some) for some in (x[:1], x[1:3], x)]
    except Exception as error:
        raise ModelError(
            f"the file for {str(path)!r} fails on some numbers of pictures ({_told(error)}); allowed: a model that "
            "treats each picture alike. Nothing was written."
        ) from error
    for some, answer in zip((wanted[:1], wanted[1:3], wanted), answers, strict=True):
        if answer.shape != some.shape:
            raise ModelError(
                f"the file for {str(path)!r} answers {len(some)} pictures with {tuple(answer.shape)}; allowed: "
                f"{tuple(some.shape)}, as the model does. Nothing was written."
            )
        if not torch.allclose(answer, some, rtol=TOLERANCE, atol=TOLERANCE):
            raise ModelError(
                f"the file for {str(path)!r} gives logits of {len(some)} pictures up to "
                f"{float((answer - some).abs().max()):.2g} off the model's; allowed: {TOLERANCE:g}, and a model that "
                "treats each picture alike. Nothing was written. Export to the other kind of file."
            )
    return float((answers[-1] - wanted).abs().max()), int((answers[-1].argmax(1) != wanted.argmax(1)).sum())


def _told(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160] if lines else 'no reason given'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which are about packages that no model here needs."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
