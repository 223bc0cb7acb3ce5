"""How an image classifier fails, how to make it hold, and the evidence.

    import holdfast

    pictures = holdfast.data.load("digits")
    result = holdfast.evaluate.evaluate(model, pictures, holdfast.Linf(eps=0.1))

The rooms (`holdfast.attacks`, `holdfast.data`, ...) and the names below load when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast import (
        access,
        attacks,
        augment,
        bridges,
        corrupt,
        data,
        draws,
        errors,
        evaluate,
        extract,
        losses,
        models,
        report,
        reproduce,
        testing,
        threats,
        train,
        uncertainty,
    )
    from holdfast.attacks import FGSM, IFGSM, MIFGSM, PGD, Noise
    from holdfast.threats import L0, L1, L2, Linf

__version__ = "0.1.0"

__all__ = [
    "FGSM",
    "IFGSM",
    "L0",
    "L1",
    "L2",
    "MIFGSM",
    "PGD",
    "Linf",
    "Noise",
    "access",
    "attacks",
    "augment",
    "bridges",
    "corrupt",
    "data",
    "draws",
    "errors",
    "evaluate",
    "extract",
    "losses",
    "models",
    "report",
    "reproduce",
    "testing",
    "threats",
    "train",
    "uncertainty",
]

_HOME = dict.fromkeys(("FGSM", "IFGSM", "MIFGSM", "Noise", "PGD"), "attacks") | dict.fromkeys(
    ("L0", "L1", "L2", "Linf"), "threats"
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    if name in _HOME:
        return getattr(import_module(f"holdfast.{_HOME[name]}"), name)
    return import_module(f"holdfast.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
