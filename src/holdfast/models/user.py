"""A user's own model: `path/to/file.py:factory`, with weights beside it."""

import contextlib
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from holdfast.errors import ModelError
from holdfast.models.weights import fit, read_weights
from holdfast.models.wrapped import Wrapped


def is_user_model(text: str) -> bool:
    """Whether `text` means a Python file: it ends in .py, or has .py before a colon."""
    return text.endswith(".py") or ".py:" in text


def load_user(text: str, weights: Path | str | None = None) -> nn.Module:
    """The model that `factory()` in a Python file makes: "path/to/file.py:factory", with `weights` put in.

    The factory takes no arguments and returns a module, or any callable from pictures to logits (made a
    module by `Wrapped`); it may also be a module that is ready. The file runs under a private name with its
    own folder first on `sys.path`, for imports of files beside it; afterwards the path is as before and those
    files are forgotten, so that another model finds its own. Imports that only run in `forward` come too late
    for that: put them at the top. This runs the user's code; weights never do (see `read_weights`). The mode
    stays as the factory left it.
    Raises: `ModelError` when file or factory is missing, either fails, or the weights do not fit.
    """
    path, factory = _split(text)
    with _imports_from(path.parent):
        model = _make(_execute(path), factory, path)
    if weights is not None:
        fit(model, read_weights(weights), f"weights {str(weights)!r}")
    return model


def load_function(text: str) -> Callable[..., Any]:
    """Any function in a Python file, "path/to/file.py:function", as it stands there; it is not called.

    The file runs as `load_user` has it. Raises: `ModelError` when file or function is missing, or the file fails.
    """
    path, name = _split(text, "function")
    with _imports_from(path.parent):
        module = _execute(path)
    found = getattr(module, name, None)
    if not callable(found):
        raise _missing(module, name, path)
    return cast(Callable[..., Any], found)


def _split(text: str, what: str = "model") -> tuple[Path, str]:
    file, colon, factory = text.rpartition(":")
    if not colon or not file.endswith(".py") or not factory.isidentifier():
        example = text if text.endswith(".py") else "path/to/model.py"
        raise ModelError(
            f"{what} {text!r}: no factory named; allowed: FILE.py:FACTORY, a function without arguments in "
            f"that file, such as {example + ':make_model'!r}."
        )
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"{what} {text!r}: the file {file!r} does not exist, seen from {str(Path.cwd())!r}.")
    return path.resolve(), factory


def _execute(path: Path) -> ModuleType:
    """Run the file as a module under a name of its own."""
    name = f"_holdfast_user_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"file {str(path)!r} cannot be imported; allowed: Python source files.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their own module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(
            f"file {str(path)!r} failed while it was imported: {_shown(error, path)}. "
            "Make `python FILE.py` run first; keep training code under `if __name__ == '__main__':`."
        ) from error
    return module


def _make(module: ModuleType, factory: str, path: Path) -> nn.Module:
    maker = getattr(module, factory, None)
    if isinstance(maker, nn.Module):
        return maker
    if not callable(maker):
        raise _missing(module, factory, path)
    try:
        made = maker()
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{factory}() in {str(path)!r} failed: {_shown(error, path)}. It is called without arguments."
        ) from error
    if isinstance(made, nn.Module):
        return made
    if isinstance(made, type) or not callable(made):
        shown = f"the class {made.__name__}" if isinstance(made, type) else type(made).__name__
        raise ModelError(
            f"{factory}() in {str(path)!r} returned {shown}; allowed: a torch module, or a callable "
            "from pictures (N, C, H, W) to logits (N, K)."
        )
    return Wrapped(made)


def _missing(module: ModuleType, name: str, path: Path) -> ModelError:
    names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    hint = f"; it has {', '.join(near)}" if near else ""
    return ModelError(f"file {str(path)!r} has no function {name!r}{hint}. Pass FILE.py:FUNCTION.")


@contextlib.contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """Let files in `folder` be imported by name; afterwards `sys.path` and `sys.modules` are as before.

    Where the folder is on the path already, nothing is added and nothing forgotten.
    """
    if folder in {Path(entry).resolve() for entry in sys.path}:
        yield
        return
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have taken it out
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if _lies_beside(name, folder):
                del sys.modules[name]


def _lies_beside(name: str, folder: Path) -> bool:
    """Whether a module is a file or package directly in `folder`; an environment in a sub-folder is not."""
    file = getattr(sys.modules[name], "__file__", None)
    if not file:
        return False
    top, path = name.partition(".")[0], Path(file).resolve()
    return path == folder / f"{top}.py" or folder / top in path.parents


def _shown(error: BaseException, path: Path) -> str:
    """An exception in one line, with the last line of the user's file it passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    text = " ".join(str(error).split())
    at = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {text[:200]}{at}" if text else f"{type(error).__name__}{at}"
