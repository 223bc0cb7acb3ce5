"""Attacks of other libraries, and plain functions, under our verifier and meter and in the same table.

    import foolbox
    from holdfast import bridges

    theirs = bridges.foolbox(foolbox.attacks.LinfPGD(steps=40))
    result = holdfast.evaluate.evaluate(model, pictures, holdfast.Linf(eps=0.1), [holdfast.PGD(), theirs])

Each function here makes a `holdfast.attacks.External`. A library is imported when its attack is made or runs.
"""

from holdfast.bridges.art import art
from holdfast.bridges.autoattack import autoattack
from holdfast.bridges.foolbox import foolbox
from holdfast.bridges.function import function
from holdfast.bridges.named import build, is_bridge
from holdfast.bridges.torchattacks import torchattacks

__all__ = ["art", "autoattack", "build", "foolbox", "function", "is_bridge", "torchattacks"]
