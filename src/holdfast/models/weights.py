"""Weights on disk and in models: reading without running code, fitting with clear errors, one hash."""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError

_INNER = (
    "state_dict",
    "model_state_dict",
    "model",
)  # where training scripts keep the weights in a checkpoint
_PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and by torch.compile


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a `.pt`/`.pth` file read without running any code in it.

    A `.pt`/`.pth` file holds a state_dict, or a dict with one under "state_dict", "model_state_dict" or
    "model"; prefixes left by DataParallel ("module.") and torch.compile ("_orig_mod.") are dropped. All
    tensors are on the CPU.
    Raises: `ModelError` when the file is missing, damaged, of another kind, or a pickle that needs code to be
    read.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"weights {str(path)!r}: {what}; allowed: a .safetensors, .pt or .pth file.")
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ModelError(f"weights {str(path)!r}: unknown kind {path.suffix!r}; allowed: .safetensors, .pt or .pth.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise ModelError(f"weights {str(path)!r}: cannot be read ({error.strerror}). Mend its permissions.") from error
    return _read_safetensors(path) if path.suffix == ".safetensors" else _state_dict(_read_torch(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"weights {str(path)!r}: not a whole safetensors file ({_line(error)}). Copy or save the file again."
        ) from error


def _read_torch(path: Path) -> Any:
    """What torch.save wrote; every failure of torch.load as one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of odd pickles that it then refuses: one line is enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports damage by many kinds of exception, EOFError and RuntimeError among them
        why = _refusal(error)
        raise ModelError(
            f"weights {str(path)!r}: {why}; allowed: a state_dict, tensors only. In the program that "
            "has the model: torch.save(model.state_dict(), FILE), or save it as safetensors."
        ) from error


def _refusal(error: Exception) -> str:
    """Why torch.load would not read a file, told from its error."""
    text = str(error)
    code = re.search(r"GLOBAL (\S+)", text)
    if isinstance(error, pickle.UnpicklingError) and code:
        return f"this pickle asks for {code[1]}, which is code and could do anything, so it is refused"
    if "TorchScript" in text:
        return "a TorchScript program, not weights"
    return "not a file of tensors that torch.save wrote, or cut short"


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name in what a .pt file held."""
    if isinstance(loaded, Mapping):
        loaded = next((loaded[key] for key in _INNER if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping):
        raise ModelError(
            f"weights {str(path)!r}: holds a {type(loaded).__name__}; allowed: a state_dict "
            f"(tensors by name), alone or under one of {', '.join(map(repr, _INNER))}."
        )
    other = [str(name) for name, value in loaded.items() if not isinstance(value, Tensor)]
    if other:
        raise ModelError(
            f"weights {str(path)!r}: {_first(other)} hold no tensor; allowed: a state_dict "
            f"(tensors by name), alone or under one of {', '.join(map(repr, _INNER))}."
        )
    return _without_prefix({str(name): value for name, value in loaded.items()})


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES * 2:  # twice: compiled and parallel, in either order
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def fit(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put the weights `state` into `model`, in the model's dtype.

    Raises: `ModelError` that names the first few weights that are missing, unexpected or of another shape.
    """
    try:
        model.load_state_dict(dict(state))
    except Exception as error:  # load_state_dict may be the user's own
        raise ModelError(
            f"{source} does not fit the model: {_misfit(model, state) or _line(error)}. "
            "Choose the architecture, options, picture shape and classes the weights were made with."
        ) from error


def _misfit(model: nn.Module, state: Mapping[str, Tensor]) -> str:
    own = model.state_dict()
    shared = [name for name in own if name in state and isinstance(own[name], Tensor)]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in shared
        if state[name].shape != own[name].shape
    ]
    found = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "other shape": shapes,
    }
    return "; ".join(f"{what}: {_first(names)}" for what, names in found.items() if names)


def weights_sha256(model: nn.Module) -> str:
    """Hex SHA-256 over names, dtypes, shapes and bytes of all parameters and buffers, in order of their
    names.

    The same on any device and in any memory layout; two models have it in common exactly when their weights
    agree bit by bit.
    """
    digest = hashlib.sha256()
    tensors = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()


def count_parameters(model: nn.Module) -> int:
    """Numbers that training may change, shared ones once; buffers are not among them."""
    return sum(parameter.numel() for parameter in model.parameters())


def _first(names: list[str], shown: int = 3) -> str:
    more = len(names) - shown
    return ", ".join(islice(names, shown)) + (f" and {more} more" if more > 0 else "")


def _line(error: BaseException) -> str:
    """The first line of an exception's text, at most 160 characters."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 160 else text[:157] + "..."
