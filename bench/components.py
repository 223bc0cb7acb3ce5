"""Single attacks beside the reference's: the loss of Auto-PGD by iteration, its time, and the queries of Square."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attack_speed import BATCH, STEPS, bare
from bench.peers.peer import OF_AUTOATTACK
from bench.reference import attackable, ours
from bench.rounds import interleaved, ratio, spread
from holdfast.attacks import APGD, Square, run
from holdfast.evaluate import speed
from holdfast.threats import Threat


class Losses(nn.Module):
    """A model that notes the cross-entropy of each picture at every call."""

    def __init__(self, model: nn.Module, y: Tensor) -> None:
        super().__init__()
        self.model, self.y = model, y
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """The model's own answer."""
        logits: Tensor = self.model(x)
        self.seen.append(functional.cross_entropy(logits.detach(), self.y, reduction="none"))
        return logits


def apgd_losses(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, steps: int = 100) -> dict[str, Any]:
    """The best cross-entropy so far, averaged over the pictures, after each iteration, ours over the reference's."""
    from pyautoattack.autopgd_base import APGDAttack

    noting = Losses(model, y)
    theirs = APGDAttack(
        noting, n_iter=steps, norm=OF_AUTOATTACK[threat.name], eps=float(threat.eps), seed=0, device="cpu", loss="ce"
    )
    theirs.init_hyperparam(x)
    torch.manual_seed(0)
    theirs.attack_single_run(x, y)
    reference = torch.stack(noting.seen[: steps + 1]).cummax(0).values.mean(1)
    trace = run(APGD(steps=steps), model, x, y, threat, batch=BATCH, aim="highest_loss", trace=True).trace
    assert trace is not None
    mine = trace.loss[:, 0].cummax(1).values.mean(0)[: len(reference)]
    apart = mine / reference - 1
    marks = [1, 5, 10, 22, 50, steps]
    return {
        "steps": steps,
        "relative_difference": {str(mark): float(apart[mark]) for mark in marks},
        "lowest": float(apart[1:].min()),
        "highest": float(apart[1:].max()),
    }


def apgd_time(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, rounds: int) -> dict[str, Any]:
    """CPU time of Auto-PGD, every step of every picture, over the bare loop of the framework; and on the stand-in."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = speed.fastest(model, x[: speed.PICTURES])
    other = model if found is None else speed.stand_in(model, found[0])
    attack = APGD(steps=STEPS)
    jobs = {
        "bare, contiguous": bare(model, x, y, torch.contiguous_format),
        "bare, channels last": bare(model, x, y, torch.channels_last),
        "Auto-PGD": lambda: run(attack, model, x, y, threat, batch=BATCH, aim="highest_loss"),
        "Auto-PGD on the stand-in": lambda: run(attack, other, x, y, threat, batch=BATCH, aim="highest_loss"),
    }
    spent = interleaved(jobs, rounds)
    limit = min(list(spent)[:2], key=lambda name: sum(spent[name]))
    return {"limit": limit, "rows": {name: asdict(ratio(seconds, spent[limit])) for name, seconds in spent.items()}}


def square_queries(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, queries: int = 1000) -> dict[str, Any]:
    """How many queries the pictures cost that both Squares break, and how many each breaks."""
    from pyautoattack.square import SquareAttack

    with torch.no_grad():
        right = model(x).argmax(1) == y
    x, y = x[right], y[right]
    theirs = SquareAttack(
        model,
        norm=OF_AUTOATTACK[threat.name],
        eps=float(threat.eps),
        n_queries=queries,
        n_restarts=1,
        seed=0,
        device="cpu",
    )  # of itself it rescales its schedule, as ours does
    theirs.init_hyperparam(x)
    torch.manual_seed(0)
    asked, x_adv = theirs.attack_single_run(x, y)
    with torch.no_grad():
        broken = model(x_adv).argmax(1) != y
    mine = run(Square(queries=queries), model, x, y, threat, batch=BATCH)
    both = broken & mine.success
    rows = {}
    for name, count, success in (("reference", asked, broken), ("ours", mine.queries, mine.success)):
        those = count[both].double()
        rows[name] = {"broken": int(success.sum()), "median": float(those.median()), "mean": float(those.mean())}
    return {"pictures": len(x), "queries": queries, "broken_by_both": int(both.sum()), "rows": rows}


def agreement(model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> dict[str, int]:
    """On how many pictures the verdicts of `fast` and `standard` differ; both attack the stand-in, where it wins."""
    attacked, _ = attackable(model, x)
    standard, fast = (ours(name, attacked, x, y, threat)[0] for name in ("standard", "fast"))
    return {
        "pictures": len(x),
        "standard_robust": int((~standard).sum()),
        "fast_robust": int((~fast).sum()),
        "differ": int((standard != fast).sum()),
    }


def show(found: dict[str, Any]) -> None:
    """A few lines."""
    losses, times, queries = found["apgd_losses"], found["apgd_time"], found["square"]
    marks = ", ".join(f"{mark}: {100 * value:+.2f} %" for mark, value in losses["relative_difference"].items())
    if both := found.get("agreement"):
        print(
            f"  of {both['pictures']} pictures standard leaves {both['standard_robust']}, fast {both['fast_robust']}; "
            f"they differ on {both['differ']}"
        )
    print(f"  Auto-PGD, mean best loss over the reference's, by iteration: {marks}")
    for name, each in times["rows"].items():
        print(f"  {name:28}{spread(each)} of the bare loop")
    for name, each in queries["rows"].items():
        print(
            f"  Square, {name}: breaks {each['broken']} of {queries['pictures']} in {queries['queries']} queries; of "
            f"those both break, median {each['median']:.0f}, mean {each['mean']:.1f}",
            flush=True,
        )
