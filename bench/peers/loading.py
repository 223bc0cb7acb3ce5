"""Peers' libraries: imported if they are there, with their version, else the reason why not."""

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import ModuleType

# What is imported first to see whether a library works, and its package.
LIBRARIES = {
    "foolbox": ("foolbox", "foolbox"),
    "adv_lib": ("adv_lib.attacks", "adv-lib"),
    "torchattacks": ("torchattacks", "torchattacks"),
    "art": ("art.attacks.evasion", "adversarial-robustness-toolbox"),
    "cleverhans": ("cleverhans.torch.attacks.carlini_wagner_l2", "cleverhans"),
    "secmlt": ("secmlt.adv.evasion.ddn", "secml-torch"),
    "pyautoattack": ("pyautoattack.fab_pt", "pyautoattack"),
}

# Modules that some of them import at the top for plots and perceptual distances, with the names they take from them.
# Attacks on classifiers use none of it, and torchvision is a large package to bring in for that.
NOT_NEEDED = {"torchvision": ("models",), "visdom": ("Visdom",)}


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Empty modules in place of those in `NOT_NEEDED` that are absent, for as long as libraries are being imported.

    Whoever asks later whether they are installed gets the true answer.
    """
    absent = [name for name in NOT_NEEDED if name not in sys.modules and importlib.util.find_spec(name) is None]
    for name in absent:
        empty = ModuleType(name)
        empty.__spec__ = ModuleSpec(name, None)
        for part in NOT_NEEDED[name]:
            setattr(empty, part, None)
        sys.modules[name] = empty
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def load() -> tuple[dict[str, str], dict[str, str]]:
    """The versions of the libraries that can be imported, and for each other one why it cannot."""
    versions, missing = {}, {}
    for name, (module, package) in LIBRARIES.items():
        try:
            with warnings.catch_warnings(), stand_ins():
                warnings.simplefilter("ignore")  # what they say of their own imports is theirs to mend
                importlib.import_module(module)
            versions[name] = metadata.version(package)
        except Exception as error:  # a library that is broken here must not stop the others
            missing[name] = f"{type(error).__name__}: {error}"
    return versions, missing
