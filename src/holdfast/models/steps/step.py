"""A step that pictures pass on their way through a model, with what an attack is to know of it."""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError, OptionError

Backward = Literal["exact", "straight_through"] | Callable[[Tensor], Tensor]
"""How a gradient comes back through a step: as calculus has it, unchanged, or through a smooth stand-in."""


class Step(nn.Module):
    """`function` as a module whose value is always its own, and whose gradient is the one declared.

    Args: `function` pictures (N, C, H, W) to pictures, a row a picture, of the same float type and on the same device;
    it may leave torch (NumPy, Pillow), detach, or work on its copy in place. `backward`: "exact" differentiates
    `function` itself; "straight_through" takes it for the identity on the way back, which wants pictures of the shape
    they came in; a smooth function of the same shape as the answer stands in on the way back only. `random`: whether
    two calls with one picture may differ, so that an attack has to average (`holdfast.attacks.EoT`). What is left out
    is what `function` says of itself by attributes `backward` and `random`, else "exact" and False.
    Any module may hold steps, at any place; `Defended` puts some in front. A module given as `function` belongs to the
    step and follows its mode, so a dropout that is to stay random in evaluation mode must be a function.
    Raises: `OptionError` for an unknown `backward`; in use `ModelError` for an answer that is no such picture, is not
    finite, has another shape than its way back, or has no way back at all.
    Cost: as `function`; where a gradient is wanted, the stand-in too.
    Source: Athalye, Carlini & Wagner 2018, arXiv:1802.00420, sec. 4.1: backward pass differentiable approximation,
    whose straight-through form is that of Bengio et al. 2013, arXiv:1308.3432.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        backward: Backward | None = None,
        random: bool | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.backward = getattr(function, "backward", "exact") if backward is None else backward
        self.checks = True  # of what is answered; `models.export` does without, having no values to check
        self.random = bool(getattr(function, "random", False) if random is None else random)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.owner = owner  # of a bound method: its weights and mode belong here
        self._check_options()

    def forward(self, x: Tensor) -> Tensor:
        """The step's own answer, with the declared gradient."""
        wanted = torch.is_grad_enabled() and x.requires_grad
        if self.backward == "exact":
            answer = self._checked(self.function(x), x)
            if wanted and not answer.requires_grad:
                raise self._refused("its answer has no gradient", 'Declare backward="straight_through", or a stand-in')
            return answer
        with torch.no_grad():
            answer = self._checked(self.function(x.detach().clone()), x)
        if not wanted:
            return answer
        smooth = self.backward(x) if callable(self.backward) else x
        if smooth.shape != answer.shape or not smooth.requires_grad:
            raise self._refused(
                f"its answer is {tuple(answer.shape)}, its way back {tuple(smooth.shape)}"
                f"{'' if smooth.requires_grad else ' without a gradient'}",
                "Pass backward=function, a smooth one that answers in the same shape",
            )
        return answer + (smooth - smooth.detach())  # the difference is 0, and carries the gradient

    def extra_repr(self) -> str:
        """Name and declaration."""
        back = self.backward if isinstance(self.backward, str) else _name(self.backward)
        return f"{_name(self.function)}, backward={back}{', random' if self.random else ''}"

    def _check_options(self) -> None:
        if not callable(self.function):
            raise OptionError(f"Step: function={self.function!r}; allowed: a callable from pictures to pictures.")
        if self.backward not in ("exact", "straight_through") and not callable(self.backward):
            raise OptionError(
                f"Step: backward={self.backward!r}; allowed: 'exact', 'straight_through', or a smooth function. "
                "For a step that rounds or leaves torch, pass 'straight_through'."
            )

    def _checked(self, answer: Any, x: Tensor) -> Tensor:
        if not self.checks:
            return cast(Tensor, answer)
        if not isinstance(answer, Tensor):
            raise self._refused(f"it answered with {type(answer).__name__}", "Convert, e.g. by torch.from_numpy")
        if answer.ndim < 2 or len(answer) != len(x):
            raise self._refused(f"it answered {len(x)} pictures with {tuple(answer.shape)}", "Keep a row a picture")
        if answer.device != x.device or answer.dtype != x.dtype:
            told = f"it answered {x.dtype} on {x.device} with {answer.dtype} on {answer.device}"
            raise self._refused(told, "End with .to(x)")
        if not bool(answer.isfinite().all()):
            bad = int((~answer.isfinite().flatten(1).all(1)).sum())
            raise self._refused(f"it answered {bad} of {len(x)} pictures with NaN or infinity", "Check its arithmetic")
        return answer

    def _refused(self, told: str, mend: str) -> ModelError:
        return ModelError(
            f"step {_name(self.function)}: {told}; allowed: finite pictures like those given, with a way back. {mend}."
        )


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)
