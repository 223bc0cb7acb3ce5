"""PGD against the limit: a bare loop of the same forward and input-gradient passes on the same batches."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from bench.networks import EPS
from bench.rounds import interleaved, ratio
from holdfast import L1, L2, PGD, Linf
from holdfast.attacks import AttackResult, run

STEPS = 40
BATCH = 250


def bare(model: nn.Module, x: Tensor, y: Tensor, layout: torch.memory_format) -> Callable[[], None]:
    """`STEPS` forward and input-gradient passes over all pictures, nothing else, parameters frozen."""

    def job() -> None:
        for start in range(0, len(x), BATCH):
            points = x[start : start + BATCH].contiguous(memory_format=layout).requires_grad_()
            for _ in range(STEPS):
                loss = nn.functional.cross_entropy(model(points), y[start : start + BATCH], reduction="sum")
                torch.autograd.grad(loss, points)

    return job


def measure(model: nn.Module, x: Tensor, y: Tensor, rounds: int) -> dict[str, Any]:
    """Ratios of PGD-40 without early stopping, and with finished pictures dropped, over the faster bare loop."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found: dict[str, AttackResult] = {}

    def pgd(name: str, threat: Any, **options: Any) -> Callable[[], None]:
        def job() -> None:
            found[name] = run(PGD(steps=STEPS), model, x, y, threat, batch=BATCH, **options)

        return job

    linf = Linf(eps=EPS)
    jobs = {
        "bare, contiguous": bare(model, x, y, torch.contiguous_format),
        "bare, channels last": bare(model, x, y, torch.channels_last),
        "PGD-40 Linf, all steps": pgd("PGD-40 Linf, all steps", linf, aim="highest_loss"),
        "PGD-40 Linf, drop and refill": pgd("PGD-40 Linf, drop and refill", linf),
        "PGD-40 L2, all steps": pgd("PGD-40 L2, all steps", L2(eps=1.5), aim="highest_loss"),
        "PGD-40 L1, all steps": pgd("PGD-40 L1, all steps", L1(eps=10.0), aim="highest_loss"),
    }
    spent = interleaved(jobs, rounds)
    limit = min(list(spent)[:2], key=lambda name: sum(spent[name]))
    rows = {name: asdict(ratio(seconds, spent[limit])) for name, seconds in spent.items()}
    for name, result in found.items():
        rows[name]["robust"] = int((~result.success).sum())
        rows[name]["passes"] = [float(result.forward.double().mean()), float(result.backward.double().mean())]
    limit_seconds = sorted(spent[limit])[rounds // 2]
    return {"limit": limit, "limit_cpu_ms_a_pass": 1e3 * limit_seconds / (STEPS * len(x) / BATCH), "rows": rows}
