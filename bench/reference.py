"""The suites against the reference implementation of AutoAttack, on the same networks in one run."""

import contextlib
import io
import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bench.peers.peer import OF_AUTOATTACK
from holdfast.attacks import AttackResult, Reserve, run
from holdfast.evaluate import speed, suite
from holdfast.threats import Threat

BATCH = 250


class Counted(nn.Module):
    """A model whose passes are counted, in pictures."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forward_passes = self.backward_passes = 0

    def forward(self, x: Tensor) -> Tensor:
        """The model's own answer."""
        self.forward_passes += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backward_passes += len(gradient)


def autoattack(model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> tuple[Tensor, list[int]]:
    """(N,) bool, what the reference's standard version breaks, and its passes, forward and backward."""
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    counted = Counted(model)
    with contextlib.redirect_stdout(io.StringIO()):
        attack = AutoAttack(
            counted, norm=OF_AUTOATTACK[threat.name], eps=float(threat.eps), version="standard", device="cpu", seed=0
        )
        found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    x_adv = found if isinstance(found, Tensor) else found[0]
    with torch.no_grad():
        broken = model(x_adv).argmax(1) != y
    return broken, [counted.forward_passes, counted.backward_passes]


def ours(name: str, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> tuple[Tensor, list[int]]:
    """The same of a suite, without what it holds in reserve; the model may be a stand-in."""
    attacks = [attack for attack in suite(name).within(threat) if not isinstance(attack, Reserve)]
    found: AttackResult = run(attacks, model, x, y, threat, batch=BATCH)
    return found.success, [int(found.forward.sum()), int(found.backward.sum())]


def attackable(model: nn.Module, x: Tensor) -> tuple[nn.Module, speed.Plan | None]:
    """What an evaluation would attack: the stand-in and its plan where that is faster, else the model itself."""
    found = speed.fastest(model, x[: speed.PICTURES])
    plan = None if found is None or found[1] > speed.GAIN else found[0]
    return (model, None) if plan is None else (speed.stand_in(model, plan), plan)


def measure(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, rounds: int) -> dict[str, Any]:
    """Verdicts, passes and CPU time of the reference, `standard` and `fast`, interleaved; a warm-up is not made.

    Ours attack the stand-in that an evaluation would choose, and its choosing is timed with them; the reference has the
    model as it is.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    begun = time.process_time()
    attacked, plan = attackable(model, x)
    choosing = time.process_time() - begun
    jobs: dict[str, Callable[[], tuple[Tensor, list[int]]]] = {
        "reference": lambda: autoattack(model, x, y, threat),
        "standard": lambda: ours("standard", attacked, x, y, threat),
        "fast": lambda: ours("fast", attacked, x, y, threat),
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    results: dict[str, tuple[Tensor, list[int]]] = {}
    for number in range(rounds):
        for name in list(jobs)[:: 1 if number % 2 == 0 else -1]:
            begun = time.process_time()
            results[name] = jobs[name]()
            seconds[name].append(time.process_time() - begun + (choosing if name != "reference" else 0.0))
    rows = {name: row(results[name], results["reference"], seconds[name], seconds["reference"]) for name in jobs}
    standard, fast = results["standard"][0], results["fast"][0]
    return {
        "threat": repr(threat),
        "pictures": len(x),
        "rounds": rounds,
        "reference": f"pyautoattack {version('pyautoattack')}, standard, seed 0",
        "stand_in": None if plan is None else plan.to_plain(),
        "rows": rows,
        "fast_differs_from_standard": int((standard != fast).sum()),
    }


def row(
    found: tuple[Tensor, list[int]], reference: tuple[Tensor, list[int]], spent: list[float], limit: list[float]
) -> dict[str, Any]:
    """What one of them found and cost, beside the reference."""
    ratios = [mine / theirs for mine, theirs in zip(spent, limit, strict=True)]
    return {
        "robust": int((~found[0]).sum()),
        "only_reference_broke": int((reference[0] & ~found[0]).sum()),
        "only_this_broke": int((found[0] & ~reference[0]).sum()),
        "passes": found[1],
        "passes_ratio": sum(found[1]) / sum(reference[1]),
        "cpu_seconds": [round(each, 2) for each in spent],
        "time_ratio": {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)},
    }


def show(title: str, found: dict[str, Any]) -> None:
    """One table."""
    print(
        f"\n{title}, {found['pictures']} pictures, {found['threat']}; {found['reference']}; {found['rounds']} round(s)"
    )
    print(f"  {'':12}{'robust':>8}{'only ref.':>11}{'only this':>11}{'passes':>11}{'/ ref.':>8}{'CPU time / ref.':>22}")
    for name, each in found["rows"].items():
        ratio = each["time_ratio"]
        spread = f"{ratio['median']:.3f} ({ratio['lowest']:.3f}-{ratio['highest']:.3f})"
        print(
            f"  {name:12}{each['robust']:>8}{each['only_reference_broke']:>11}{each['only_this_broke']:>11}"
            f"{sum(each['passes']):>11}{each['passes_ratio']:>8.3f}{spread:>22}",
            flush=True,
        )
    print(f"  fast differs from standard on {found['fast_differs_from_standard']}")
