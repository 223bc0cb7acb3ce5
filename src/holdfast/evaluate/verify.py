"""Checks what an attack returned, sharing no line of code with what it checks.

The norms, the goal and the counting are written here a second time on purpose: a bug in the attack, the threat or
the engine cannot excuse itself. Everything is taken from the returned pictures alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.errors import AttackDidNothing, DataError, ModelError, OptionError, unknown
from holdfast.evaluate.rerender import RENDER, sizes

Norm = Literal["linf", "l2", "l1", "l0", "pixels", "patch", "rotation", "flow", "colour"]
Model = Callable[[Tensor], Tensor]
Measure = Callable[[Tensor, Tensor], Tensor]
"""From returned pictures and their originals, (n, ...) each, to (n,) float64 sizes."""
LEVELS = 255  # steps of an 8-bit picture


@dataclass(frozen=True)
class Verdict:
    """What is true of each returned picture. All tensors have one row a picture, on the model's device."""

    prediction: Tensor  # (N,) int64, class of the original; -1 when its logits are not finite
    confidence: Tensor  # (N,) float32, its softmax probability; 0 when not finite
    prediction_adv: Tensor  # (N,) int64, of the returned picture
    confidence_adv: Tensor  # (N,) float32
    gap_adv: Tensor  # (N,) float32, two largest logits' distance over the largest magnitude: near 0 is a tie
    start_wrong: Tensor  # (N,) bool, the original itself reaches the goal
    start_gap: Tensor  # (N,) float32, as `gap_adv`, of the original
    size: Tensor  # (N,) float64, measured again in float64
    finite: Tensor  # (N,) bool, all values and all logits of the returned picture
    inside_box: Tensor  # (N,) bool, low <= x_adv <= high exactly
    inside_eps: Tensor  # (N,) bool, size <= eps + slack
    success: Tensor  # (N,) bool, goal reached and finite and inside box and eps
    success_8bit: Tensor  # (N,) bool, a success that is still one after rounding to 8 bits
    size_8bit: Tensor  # (N,) float64, of the rounded picture: up to half a level a value more than `size`
    unchanged: Tensor  # (N,) bool, equal to the original in every value
    untouched_when_start_wrong: Tensor  # (N,) bool, true unless wrong from the start and changed all the same
    passes: int  # forward passes, in pictures, that the verifier itself made


def verify(
    model: Model,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float,
    low: float = 0.0,
    high: float = 1.0,
    mask: Tensor | None = None,
    place: tuple[int, int] | Tensor | None = None,
    target: Tensor | None = None,
    parameters: Tensor | None = None,
    options: Mapping[str, Any] | None = None,
    batch: int = 256,
    needs_gradient: bool = False,
    backward: int | None = None,
    refuse_nothing: bool = True,
) -> Verdict:
    """Judge returned pictures: run the model on them again, measure them again in float64.

    Where a threat renders pictures, they are rendered again from the parameters that are claimed for them: the size is
    the largest of these, and infinite for a picture that is another.

    The goal is a prediction other than `y`, or equal to `target` where one is given. A picture that reaches it from
    the start must come back unchanged. A prediction by which a guarded model refuses
    to answer reaches nothing. 8 bits: each value goes to the nearest of 256 levels evenly spread from `low`
    to `high` (on [0, 1]: `round(255 x) / 255`); the class is judged there, the size is only reported.
    A change where `mask` does not allow one has infinite size. The size in "patch" is the side of the smallest square
    that covers the change, or with `place` of the smallest one with that corner, moved back into the picture where it
    sticks out.

    Args: `x`, `x_adv` (N, ...) float in [low, high]; `y`, `target` (N,) int64; `eps` radius in input units, or in those
    of the parameters; `mask` bool (H, W), (C, H, W), or (N, 1 or C, H, W) for one a picture; `place` row and column, or
    (N, 2) int64; `parameters` (N, ...) what each picture is said to be rendered from, with the `options` of it;
    `batch` pictures at once; `needs_gradient` whether the attack lives on gradients, and `backward` the rows of
    backward passes counted while it ran (`Meter`), None if nobody counted; with `refuse_nothing` False an attack that
    did nothing is told by `Verdict.unchanged` alone.
    Raises: `AttackDidNothing` when every picture that was right came back equal to its original although eps > 0, or
    when a gradient attack left some of them standing without one backward pass; `DataError` for no pictures;
    `ModelError` when the two sets of pictures do not match.
    Cost: two forward passes a picture, a third for each success.
    """
    if norm not in get_args(Norm):
        raise unknown("norm", norm, get_args(Norm))
    if norm in RENDER:
        _check_rendered(norm, x, parameters, options)
    if x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise ModelError(
            f"returned pictures are {tuple(x_adv.shape)} {x_adv.dtype}; allowed: like the originals, {tuple(x.shape)} "
            f"{x.dtype}. Return one picture for each given one."
        )
    if not len(x):
        raise DataError("no pictures to verify; allowed: at least one. Check the split and the limit.")
    box, refused = (float(low), float(high)), _refused(model)
    pieces = []
    with _evaluation_mode(model), torch.no_grad():
        for start in range(0, len(x), batch):
            rows = slice(start, start + batch)
            wanted = None if target is None else target[rows]
            if norm in RENDER and parameters is not None:
                measure = _of_parameters(norm, box, parameters[rows], options or {})
            else:
                measure = _of_difference(norm, mask, place, rows, x)
            pieces.append(_judge(model, x[rows], x_adv[rows], y[rows], norm, measure, eps, box, wanted, refused))
    verdict = _join(pieces)
    if refuse_nothing:
        refuse_idle(verdict, eps, needs_gradient, backward)
    return verdict


def slack(norm: Norm, eps: float, low: float, high: float, values: int, dtype: torch.dtype) -> float:
    """How far over `eps` the float64 size of an honestly projected picture may come out.

    `step` is the distance between neighbouring floats of `dtype` at the largest magnitude in the box.
    - linf: one step. Rounding eps to `dtype` costs at most half a step, rounding x + delta the other half.
    - l1, l2: that rounding in each of the `values` elements adds up to values * step in the 1-norm and to
      sqrt(values) * step in the 2-norm; the norm by which delta was scaled was itself summed in `dtype`, with a
      relative error that pairwise summation keeps under 16 roundings.
    - l0, pixels, patch: none, counting is exact.
    - of parameters: two roundings of the radius.
    """
    rounding = torch.finfo(dtype).eps
    step = rounding * max(abs(low), abs(high))
    if norm in ("l0", "pixels", "patch"):
        return 0.0
    if norm in RENDER:
        return 2 * rounding * eps
    if norm == "linf":
        return step
    return step * (values if norm == "l1" else values**0.5) + 16 * rounding * eps


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "linf": lambda delta: delta.abs().amax((1, 2)),
    "l2": lambda delta: delta.square().sum((1, 2)).sqrt(),
    "l1": lambda delta: delta.abs().sum((1, 2)),
    "l0": lambda delta: (delta != 0).sum((1, 2)).double(),
    "pixels": lambda delta: (delta != 0).any(1).sum(1).double(),
}
"""Sizes of (N, channels, pixels) float64 differences; inputs without channels have one."""


class Meter:
    """Counts the pictures that pass through a model, forward and backward, by hooks of its own.

    >>> model = nn.Linear(2, 2)
    >>> with Meter(model) as meter:
    ...     _ = model(torch.zeros(3, 2))
    >>> meter.forward, meter.backward
    (3, 0)

    Only calls of the module itself are seen (`model(x)`, not `model.forward(x)`). A callable that is not a module is
    not counted: `counts` is False then.
    """

    def __init__(self, model: Model) -> None:
        self.forward = 0
        self.backward = 0
        self.counts = isinstance(model, nn.Module)
        self._model = model
        self._hook: Any = None

    def __enter__(self) -> "Meter":
        if isinstance(self._model, nn.Module):
            self._hook = self._model.register_forward_hook(self._seen)
        return self

    def __exit__(self, *error: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _seen(self, module: nn.Module, given: Any, logits: Any) -> None:
        if not isinstance(logits, Tensor):
            return
        self.forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(self._back)

    def _back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


def _check_rendered(norm: Norm, x: Tensor, parameters: Tensor | None, options: Mapping[str, Any] | None) -> None:
    if parameters is None or options is None:
        raise DataError(
            f"{norm} without {'parameters' if parameters is None else 'options'}; allowed: what each picture is "
            "rendered from, and the threat's options. Pass parameters=..., options=holdfast.threats.plain(threat)."
        )
    if len(parameters) != len(x):
        raise DataError(f"parameters of {len(parameters)} pictures for {len(x)}; allowed: a row for each.")
    if x.dtype not in (torch.float32, torch.float64):  # coarser, any picture would pass for any other
        raise DataError(f"{norm}: pictures are {x.dtype}; allowed: float32 or float64. Pass x.float().")


def _judge(
    model: Model,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    norm: Norm,
    measure: Measure,
    eps: float,
    box: tuple[float, float],
    target: Tensor | None,
    refused: int | None,
) -> Verdict:
    low, high = box
    before, confidence, start_gap = _predict(model, x)
    after, confidence_adv, gap_adv = _predict(model, x_adv)
    start_wrong = _reached(before, y, target, refused)
    unchanged = (x_adv == x).flatten(1).all(1)
    size = measure(x_adv, x)
    inside_box = ((x_adv >= low) & (x_adv <= high)).flatten(1).all(1)
    inside_eps = size <= eps + slack(norm, eps, low, high, x[0].numel(), x.dtype)
    finite = torch.isfinite(x_adv).flatten(1).all(1) & (after >= 0)
    success = _reached(after, y, target, refused) & finite & inside_box & inside_eps
    success_8bit, size_8bit = success.clone(), size.clone()
    if success.any():
        rounded = _to_8bit(x_adv[success], low, high)
        wanted = None if target is None else target[success]
        success_8bit[success] = _reached(_predict(model, rounded)[0], y[success], wanted, refused)
        if norm not in RENDER:  # rounded, it is no longer what its parameters give to the bit
            whole = x_adv.clone()
            whole[success] = rounded
            size_8bit[success] = measure(whole, x)[success]
    return Verdict(
        prediction=before,
        confidence=confidence,
        prediction_adv=after,
        confidence_adv=confidence_adv,
        gap_adv=gap_adv,
        start_wrong=start_wrong,
        start_gap=start_gap,
        size=size,
        finite=finite,
        inside_box=inside_box,
        inside_eps=inside_eps,
        success=success,
        success_8bit=success_8bit,
        size_8bit=size_8bit,
        unchanged=unchanged,
        untouched_when_start_wrong=unchanged | ~start_wrong,
        passes=2 * len(x) + int(success.sum()),
    )


def _predict(model: Model, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Class (-1 where not finite), confidence, and relative distance of the two largest logits."""
    usable = x.isfinite().flatten(1).all(1)
    # A copy, so that a model that works in place changes nothing that is measured; and many a model refuses a NaN.
    logits = model(torch.where(usable.view(-1, *[1] * (x.ndim - 1)), x, 0.0))
    finite = logits.isfinite().all(1) & usable
    logits = torch.where(finite[:, None], logits, 0.0)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    gap = (first - second) / logits.abs().amax(1).clamp_min(torch.finfo(logits.dtype).tiny)
    confidence = logits.softmax(1).amax(1) * finite
    return torch.where(finite, logits.argmax(1), -1), confidence.float(), gap.float()


def _refused(model: Model) -> int | None:
    """The class by which a guarded model refuses to answer: it says so itself."""
    said = getattr(model, "refused", None)
    return said if isinstance(said, int) else None


def _reached(prediction: Tensor, y: Tensor, target: Tensor | None, refused: int | None) -> Tensor:
    reached = prediction != y if target is None else prediction == target
    return reached & (prediction >= 0) & (prediction != (-1 if refused is None else refused))


def _of_parameters(norm: Norm, box: tuple[float, float], parameters: Tensor, options: Mapping[str, Any]) -> Measure:
    """The size of these pictures, rendered from these parameters (n, ...)."""

    def size(x_adv: Tensor, x: Tensor) -> Tensor:
        original, given, at = (tensor.double().cpu().numpy() for tensor in (x, x_adv, parameters))
        found = sizes(norm, original, given, at, options, box, torch.finfo(x.dtype).eps)
        return torch.from_numpy(found).to(x.device)

    return size


def _of_difference(
    norm: Norm, mask: Tensor | None, place: tuple[int, int] | Tensor | None, rows: slice, x: Tensor
) -> Measure:
    """The size of the change of these rows of the pictures `x`."""
    if mask is not None:
        mask = mask.to(x.device)
        mask = mask[rows] if mask.ndim == x.ndim == 4 else mask
        if mask.dtype != torch.bool or mask.ndim > x.ndim or not _broadcasts(mask.shape, x[rows].shape):
            raise OptionError(
                f"verify: mask is {mask.dtype} of shape {tuple(mask.shape)} for pictures {tuple(x.shape)}; allowed: "
                "bool (H, W), (C, H, W), or one a picture. Pass mask > 0.5."
            )
    corners = None if place is None else torch.as_tensor(place).cpu().expand(len(x), 2)[rows].tolist()

    def size(x_adv: Tensor, original: Tensor) -> Tensor:
        delta = x_adv.double() - original.double()
        if norm == "patch":
            found = _sides(delta, corners)
        else:
            found = NORMS[norm](delta[:, None] if delta.ndim == 2 else delta.flatten(2))
        return found if mask is None else found.masked_fill(((delta != 0) & ~mask).flatten(1).any(1), torch.inf)

    return size


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))


def _sides(delta: Tensor, corners: list[list[int]] | None) -> Tensor:
    """(n,): the side of the smallest square that covers what is not 0 in (n, ...), row by row, column by column."""
    found = []
    for number, picture in enumerate(delta):
        channels = (
            picture.reshape(-1, *picture.shape[-2:])
            if picture.ndim > 2
            else picture.reshape(-1, 1, len(delta[0, 0]))
            if picture.ndim == 2
            else picture.reshape(1, 1, -1)
        )
        height, width = channels.shape[1:]
        places = (channels != 0).any(0).nonzero().tolist()
        side = 0
        if places:
            (top, bottom), (left, right) = ((min(line), max(line)) for line in zip(*places, strict=True))
            side = max(bottom - top, right - left) + 1
            while corners is not None and not (
                _covers(corners[number][0], side, height, top, bottom)
                and _covers(corners[number][1], side, width, left, right)
            ):
                side += 1
        found.append(float(side))
    return torch.tensor(found, dtype=torch.float64, device=delta.device)


def _covers(corner: int, side: int, room: int, first: int, last: int) -> bool:
    start = max(min(corner, room - side), 0)
    return start <= first and last < start + side


def _to_8bit(x: Tensor, low: float, high: float) -> Tensor:
    level = ((x.double() - low) / (high - low) * LEVELS).round()
    return (low + level * (high - low) / LEVELS).to(x.dtype)


def refuse_idle(verdict: Verdict, eps: float, needs_gradient: bool, backward: int | None) -> None:
    """Raise `AttackDidNothing` when every picture that was right came back as it was, or a gradient attack left some of
    them standing without a backward pass. Arguments as of `verify`."""
    right = ~verdict.start_wrong
    if eps > 0 and right.any() and verdict.unchanged[right].all():
        raise AttackDidNothing(
            f"the attack returned all {int(right.sum())} pictures unchanged at eps={eps:g}; allowed: at least one must "
            "move. Check that the model's gradient is not zero, that eps is in input units, and that the attack "
            "takes a step."
        )
    if needs_gradient and backward == 0 and (right & ~verdict.success).any():
        raise AttackDidNothing(
            f"a gradient attack left {int((right & ~verdict.success).sum())} pictures standing without one backward "
            "pass; allowed: at least one. Check that the model's output depends on its input without detach() or "
            "no_grad()."
        )


def _join(pieces: list[Verdict]) -> Verdict:
    names = [f.name for f in fields(Verdict) if f.name != "passes"]
    columns = {name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names}
    return Verdict(**columns, passes=sum(piece.passes for piece in pieces))


@contextmanager
def _evaluation_mode(model: Model) -> Iterator[None]:
    modes = [(m, m.training) for m in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode
