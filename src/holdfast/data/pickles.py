"""The pickles of CIFAR-10's Python version, read without running anything that they ask for.

A pickle may name any function to be called. Here the three names that an array of bytes needs are answered by
stand-ins that only keep what they are given; every other name is refused before it is looked up.
"""

import io
import pickle
from typing import Any, ClassVar

from holdfast.data.published import MEND
from holdfast.errors import DataError

PIXELS = 3 * 32 * 32


class _Kept:
    """Stands for an array, or for its dtype: keeps the arguments and the state and computes nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        raise TypeError("a stand-in is not to be stored")


def _reconstruct(*arguments: Any) -> _Kept:
    return _Kept(*arguments)


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers and strings, and stand-ins for arrays."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Kept,
        ("numpy", "dtype"): _Kept,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name. Raises `DataError` for every other name."""
        if (module, name) not in self.allowed:
            raise DataError(f"it asks for {module}.{name}; allowed: arrays of bytes, containers and text")
        return self.allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refused: the published files have none."""
        raise DataError("it asks for an object from outside; allowed: arrays of bytes, containers and text")


def read_batch(content: bytes, source: str) -> bytes:
    """A pickled batch as binary records: for every picture one label byte and 3,072 pixel bytes.

    Args: `content` of the file; `source` names it in errors.
    Raises: `DataError` when it is truncated, asks for code, or holds no labels and pixels that go together.
    """
    batch = _read(content, source)
    labels, pixels = _labels(batch.get(b"labels")), _array(batch.get(b"data"))
    if labels is None or pixels is None or len(pixels) != PIXELS * len(labels):
        raise DataError(f"{source!r}: no b'labels' with b'data' of {PIXELS} bytes a label in it. {MEND}")
    rows = (pixels[i * PIXELS : (i + 1) * PIXELS] for i in range(len(labels)))
    return b"".join(bytes([label]) + row for label, row in zip(labels, rows, strict=True))


def read_names(content: bytes, source: str) -> tuple[str, ...]:
    """The class names in a pickled batches.meta. Raises `DataError` when they are not there."""
    names = _read(content, source).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{source!r}: no b'label_names' in it. {MEND}")
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)


def _read(content: bytes, source: str) -> dict[Any, Any]:
    """The dictionary in a pickle, its keys as bytes."""
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(
            f"{source!r}: refused, for {error}. Use the binary version, or the publisher's own file."
        ) from error
    except Exception as error:  # a corrupt pickle can raise almost anything
        raise DataError(
            f"{source!r}: not a whole pickle ({type(error).__name__}: {' '.join(str(error).split())}). {MEND}"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{source!r}: holds a {type(value).__name__}; allowed: a dict. {MEND}")
    return {key.encode() if isinstance(key, str) else key: part for key, part in value.items()}


def _labels(value: Any) -> list[int] | None:
    """The value when it is a list of numbers that fit a byte, else None."""
    fits = isinstance(value, list) and all(type(label) is int and 0 <= label < 256 for label in value)
    return value if fits else None


def _array(kept: Any) -> bytes | None:
    """The bytes of a stand-in for a uint8 array in row order with 3,072 columns, else None."""
    state = kept.state if isinstance(kept, _Kept) else None
    if not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, dtype, by_column, values = state
    plain = isinstance(dtype, _Kept) and dtype.arguments[:1] in ((b"u1",), ("u1",)) and not by_column
    two_axes = isinstance(shape, tuple) and len(shape) == 2 and shape[1] == PIXELS
    return values if plain and two_axes and isinstance(values, bytes) else None
