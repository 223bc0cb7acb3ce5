"""Attacks one after the other, ours and others', each on the pictures that those before it left standing."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from holdfast.access.borrow import Model
from holdfast.attacks.attack import Attack
from holdfast.attacks.check import check_attacks
from holdfast.attacks.engine import Progress, run
from holdfast.attacks.external import External
from holdfast.attacks.record import inside_box, within
from holdfast.attacks.result import AttackResult
from holdfast.attacks.run_external import run_external
from holdfast.lanes import column
from holdfast.threats import AnyThreat


def run_in_a_row(
    attacks: Sequence[Attack | External],
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: AnyThreat,
    *,
    seed: int = 0,
    batch: int = 256,
    picture: Tensor | None = None,
    progress: Progress | None = None,
    refuse_nothing: bool = True,
) -> AttackResult:
    """Attack pictures with our own attacks and others', cheapest first; arguments and result as `holdfast.attacks.run`.

    Neighbouring attacks of our own go to the engine together, those from elsewhere one by one to `run_external`, which
    `refuse_nothing` is for. `lane` is the lane within its stage. Of a picture that no attack breaks, the first point
    that moved is kept, but one outside the threat in its place, for the verifier to see.

    Raises: as `run` and `run_external`. Cost: that of the attacks, and a look at each picture before each stage.
    """
    place = torch.arange(len(x)) if picture is None else picture
    rows = torch.arange(len(x), device=x.device)
    stages = _stages(check_attacks(attacks))
    found: AttackResult | None = None
    first = 0  # place of the stage's first attack in the list
    for number, stage in enumerate(stages):
        if found is not None:
            rows = (~found.success).nonzero().squeeze(1)
            if not len(rows):
                break
        tell = None if progress is None else _share_of(progress, number, len(stages))
        # Two stages of one attack must not draw the same numbers.
        own = seed if number == 0 else zlib.crc32(f"{seed} {number}".encode())
        some = (model, x[rows], y[rows], threat)
        at = place[rows.to(place.device)]
        if isinstance(stage, External):
            # What is left when it comes may be too hard for it; to have asked nothing is no excuse even so.
            late = stage if number == 0 else replace(stage, restores=True)
            part = run_external(late, *some, seed=own, batch=batch, picture=at, refuse_nothing=refuse_nothing)
        else:
            part = run(stage, *some, seed=own, batch=batch, picture=at, progress=tell)
        if tell is not None:
            tell(1, 1)
        part = replace(part, attack=torch.where(part.attack < 0, -1, part.attack + first))
        found = part if found is None else _followed(found, part, rows, x, threat)
        first += 1 if isinstance(stage, External) else len(stage)
    assert found is not None  # there is a stage, as `check_attacks` made sure
    return found


def _stages(attacks: Sequence[Attack | External]) -> list[External | list[Attack]]:
    stages: list[External | list[Attack]] = []
    for _, group in groupby(attacks, key=lambda attack: isinstance(attack, External)):
        alike = list(group)
        own = [attack for attack in alike if not isinstance(attack, External)]
        stages += [own] if own else [attack for attack in alike if isinstance(attack, External)]
    return stages


def _share_of(progress: Progress, number: int, stages: int) -> Progress:
    """The progress of one stage as that of all."""
    return lambda done, total: progress(int(1000 * (number + done / max(total, 1))), 1000 * stages)


def _followed(found: AttackResult, part: AttackResult, rows: Tensor, x: Tensor, threat: AnyThreat) -> AttackResult:
    """What was found so far, with what a further stage found of the pictures in `rows`, none of which was broken."""
    # A model that answers at random may get a picture wrong at its second look: no attack's doing.
    lucky = part.step == 0
    part = replace(part, success=part.success & ~lucky, step=torch.where(lucky, -1, part.step))
    invalid = ~(within(threat, part.size, x.dtype) & inside_box(threat, part.x_adv))
    unmoved = found.size[rows] == 0
    taken = part.success | invalid | unmoved

    def put(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, rows, torch.where(column(taken, new), new, old[rows]))

    return replace(
        found,
        x_adv=put(found.x_adv, part.x_adv),
        size=put(found.size, part.size),
        success=put(found.success, part.success),
        step=put(found.step, part.step),
        lane=put(found.lane, part.lane),
        attack=put(found.attack, part.attack),
        queries=found.queries.index_add(0, rows, part.queries),
        forward=found.forward.index_add(0, rows, part.forward),
        backward=found.backward.index_add(0, rows, part.backward),
        forward_elsewhere=_added(found.forward_elsewhere, part.forward_elsewhere, rows, len(x)),
        backward_elsewhere=_added(found.backward_elsewhere, part.backward_elsewhere, rows, len(x)),
    )


def _added(before: Tensor | None, more: Tensor | None, rows: Tensor, pictures: int) -> Tensor | None:
    """Passes so far, with those of a further stage; None where neither has such."""
    if more is None:
        return before
    none = torch.zeros(pictures, dtype=more.dtype, device=more.device)
    return (none if before is None else before).index_add(0, rows, more)
