"""Runs an attack from elsewhere as the engine runs our own: same arguments, same result, nothing believed."""

from typing import cast

import torch
from torch import Tensor

from holdfast.access import Access, borrow
from holdfast.access.borrow import Model, home
from holdfast.attacks.check import check_answer, check_pictures, check_place
from holdfast.attacks.external import Call, CallElsewhere, External, Made, check_norm
from holdfast.attacks.lent import Lent, unharmed
from holdfast.attacks.record import inside_box, to, within
from holdfast.attacks.result import AttackResult
from holdfast.errors import AttackDidNothing, AttackError, HoldfastError
from holdfast.generators import all_seeded
from holdfast.lanes import column, join
from holdfast.losses import Goal
from holdfast.threats import AnyThreat, Rendered, Threat


@torch.inference_mode(False)  # within a caller's inference mode there would be no gradients
def run_external(
    attack: External,
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: AnyThreat,
    *,
    seed: int = 0,
    batch: int = 256,
    picture: Tensor | None = None,
    refuse_nothing: bool = True,
) -> AttackResult:
    """Let an attack from elsewhere have the pictures that are right, `batch` at a time, and judge what it returns.

    Arguments and result as `holdfast.attacks.run`, with one radius for all pictures. A picture that is wrong from the
    start is not handed over, and none is at eps = 0. A returned point outside radius or box, or not finite, is no
    success; it is returned as it came, so that the verifier says so. Passes are counted where the model is called and
    shared out evenly over the pictures of a batch; a success is dated to its picture's last question. Those that an
    attack makes on a model of its own, `elsewhere`, are counted apart.

    Raises: `AttackError` when the attack fails, changes the model's weights, or returns anything but pictures like
    those given; `AttackDidNothing` when all it was given came back unchanged, or when it lives on gradients and took
    none, unless `refuse_nothing` is False; `OptionError` when it is made for another threat; as `run` otherwise.
    Cost: the attack's own passes, and two forward passes a picture handed over, one for the others.
    """
    check_pictures(x, y, threat, batch)
    check_norm(attack, threat)
    assert not isinstance(threat, Rendered)  # as `check_norm` has made sure
    there, place = home(model, x), check_place(picture, x)
    pieces = []
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        pieces.append(_batch(attack, model, x[rows].to(there), y[rows].to(there), threat, place[rows], seed))
    found = to(join(pieces), x.device)
    if refuse_nothing:
        _refuse_nothing(attack, x, threat, found)
    return found


def _batch(
    attack: External, model: Model, x: Tensor, y: Tensor, threat: Threat, place: Tensor, seed: int
) -> AttackResult:
    goal = Goal(y)
    with borrow(model) as whole:
        judge, asked = Lent(whole, Access.SCORES), Lent(whole, attack.access)
        logits = check_answer(judge(x), goal)
        right = logits.argmax(1) == y
        given = right.nonzero().squeeze(1) if float(threat.eps) > 0 else right.new_zeros(0, dtype=torch.int64)
        x_adv, reached = x.clone(), ~right
        made = None
        if len(given):
            at = place[given.to(place.device)]
            with unharmed(whole, attack.name), all_seeded(seed, attack.name, at, x.device):
                returned, made = _called(attack, asked, x[given], y[given], threat, seed, at)
            x_adv[given] = returned
    if len(given):
        with borrow(model):  # anew, since the attack may have set modes
            finite = returned.isfinite().flatten(1).all(1)
            asked_about = torch.where(column(finite, returned), returned, x[given])  # many a model refuses a NaN
            reached[given] = finite & Goal(y[given]).reached(judge(asked_about))
    size = threat.size(x_adv.double() - x.double())
    success = reached & within(threat, size, x.dtype) & inside_box(threat, x_adv)
    forward = 1 + _shared(asked.forwards + len(given), given, len(x))
    return AttackResult(
        x_adv=x_adv,
        success=success,
        size=size,
        queries=forward - 1,
        forward=forward,
        backward=_shared(asked.backwards, given, len(x)),
        step=torch.where(~right, 0, torch.where(success, forward - 1, -1)),
        lane=torch.where(success & right, 0, -1),
        attack=torch.where(success & right, 0, -1),
        prediction=logits.argmax(1),
        forward_elsewhere=_elsewhere(attack, None if made is None else made.forward, given, len(x)),
        backward_elsewhere=_elsewhere(attack, None if made is None else made.backward, given, len(x)),
    )


def _called(
    attack: External, model: Lent, x: Tensor, y: Tensor, threat: Threat, seed: int, place: Tensor
) -> tuple[Tensor, Made | None]:
    """What the attack returns, if that is pictures like those given; it gets copies to do with as it likes."""
    made = None
    try:
        with torch.enable_grad():
            if attack.elsewhere:
                made = cast(CallElsewhere, attack.call)(model, x.clone(), y.clone(), threat, seed, place)
                returned = made.x_adv
            else:
                returned = cast(Call, attack.call)(model, x.clone(), y.clone(), threat)
    except HoldfastError:
        raise
    except Exception as error:
        raise AttackError(
            f"{attack.name} failed on {len(x)} pictures of shape {tuple(x.shape[1:])}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}. Allowed: an attack that takes any number of pictures (N, C, H, W)."
        ) from error
    if not isinstance(returned, Tensor):
        raise _not_pictures(attack, type(returned).__name__, x)
    if returned.shape != x.shape or returned.dtype != x.dtype or returned.device != x.device:
        raise _not_pictures(attack, f"{tuple(returned.shape)} {returned.dtype} on {returned.device}", x)
    returned = returned.detach()
    return threat.project(returned, x) if attack.minimal else returned, made


def _elsewhere(attack: External, passes: Tensor | None, given: Tensor, pictures: int) -> Tensor | None:
    """(N,) int64: what pictures cost on another model; None for an attack that has none."""
    if not attack.elsewhere:
        return None
    none = torch.zeros(pictures, dtype=torch.int64, device=given.device)
    return none if passes is None else none.index_copy(0, given, passes.to(none))


def _not_pictures(attack: External, what: str, x: Tensor) -> AttackError:
    return AttackError(
        f"{attack.name} returned {what}; allowed: like the pictures given, {tuple(x.shape)} {x.dtype} on {x.device}. "
        "Return one picture for each given one."
    )


def _shared(passes: int, given: Tensor, pictures: int) -> Tensor:
    """(N,) int64: passes shared out as evenly as can be over the pictures handed over, the sum being exact."""
    shares = torch.zeros(pictures, dtype=torch.int64, device=given.device)
    if len(given):
        shares[given] = passes // len(given)
        shares[given[: passes % len(given)]] += 1
    return shares


def _refuse_nothing(attack: External, x: Tensor, threat: Threat, found: AttackResult) -> None:
    right = found.step != 0
    if float(threat.eps) == 0 or not bool(right.any()):
        return
    handed, standing = int(right.sum()), int((right & ~found.success).sum())
    unchanged = bool((found.x_adv == x).flatten(1).all(1)[right].all())
    asked = int(found.forward[right].sum()) > 2 * handed  # more than the looks before and after
    if unchanged and not (attack.restores and asked):
        raise AttackDidNothing(
            f"{attack.name} returned all {handed} pictures it was given unchanged at eps={float(threat.eps):g}; "
            "allowed: at least one must move. If it gives the original back where it fails, say so: restores=True, or "
            "--set restores=true."
        )
    if attack.access >= Access.GRADIENT and standing and int(found.backward.sum()) == 0:
        raise AttackDidNothing(
            f"{attack.name} left {standing} pictures standing without one backward pass; allowed: at least one, as it "
            "lives on gradients. If it does not, say so: access=Access.SCORES or Access.LABELS "
            "(--set access=scores)."
        )
