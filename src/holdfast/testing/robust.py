"""The assertion: evaluate a model and fail, with the reason, unless enough pictures hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from holdfast.access.borrow import Model
from holdfast.attacks import Attack
from holdfast.data import Pictures
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import Evaluation, Gate, evaluate
from holdfast.evaluate import suite as suite_of
from holdfast.testing.failure import explain
from holdfast.threats import AnyThreat


def assert_robust(
    model: Model,
    data: Pictures | tuple[Tensor, Tensor],
    threat: AnyThreat,
    *,
    at_least: float,
    suite: str | None = None,
    attack: Attack | Sequence[Attack] | None = None,
    eps: float | Sequence[float] | None = None,
    limit: int | None = None,
    seed: int = 0,
    batch: int | Literal["auto"] = "auto",
    checks: bool = True,
    out: Path | str | None = None,
    resume: bool = False,
    name: str | None = None,
) -> Evaluation:
    """Fail unless the interval of robust accuracy begins at `at_least` or above and no check failed.

    Args: `model` pictures (N, C, H, W) in the threat's box to logits (N, K); `data` pictures, or a pair of x float
    (N, C, H, W) and y (N,) whole numbers; `threat` norm, box and radius; `at_least` a rate in [0, 1]; `suite` the name
    of a suite, or `attack` one attack or several, default the suite "quick"; `limit` only the first pictures; `eps`,
    `seed`, `batch`, `checks`, `out`, `resume`, `name` as in `holdfast.evaluate.evaluate`. With several radii the
    largest decides. The decision is that of `holdfast evaluate --at-least`, made by `holdfast.evaluate.Gate`.

    Returns: the evaluation. Raises: `AssertionError` when the gate is not passed; its text gives the rates, the failed
    checks with their advice, and the pictures and classes that broke first. `OptionError`, `DataError`, `ModelError`,
    `RunError`, `AttackDidNothing` where nothing could be measured, as `evaluate`. Cost: as `evaluate`.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test, not of this function
    gate = Gate(at_least, checked=checks)
    found = evaluate(
        model,
        _pictures(data, limit),
        threat,
        _attacks(suite, attack, threat),
        eps=eps,
        seed=seed,
        batch=batch,
        out=out,
        resume=resume,
        checks=checks,
        name=name,
    )
    if gate.why(found) is not None:
        raise AssertionError(explain(found, gate))
    return found


def _pictures(data: Any, limit: int | None) -> Pictures:
    if limit is not None and limit < 1:
        raise OptionError(f"limit={limit}; allowed: 1 or more pictures. Leave it out for all of them.")
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        data = Pictures.from_arrays(x, y, name="pictures")
    if not isinstance(data, Pictures):
        raise DataError(
            f"data={type(data).__name__}; allowed: holdfast.data.Pictures, or a pair (x, y) of tensors. "
            'holdfast.data.load("digits") loads a set by its name; join the batches of a loader first.'
        )
    return data if limit is None else data.take(slice(limit))


def _attacks(
    suite: str | None, attack: Attack | Sequence[Attack] | None, threat: AnyThreat
) -> Attack | Sequence[Attack] | None:
    if suite is None:
        return attack
    if attack is not None:
        raise OptionError(f"suite={suite!r} and attack={attack!r}; allowed: one of the two. Leave one out.")
    return suite_of(suite).within(threat)
