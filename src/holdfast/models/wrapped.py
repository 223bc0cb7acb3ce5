"""Any callable as a torch module, so that hooks can count its passes."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from holdfast.errors import ModelError


class Wrapped(nn.Module):
    """A callable from pictures (N, C, H, W) to logits (N, K) as a module.

    The module behind a bound method is found and belongs to the wrapper: its parameters are frozen and its
    mode is set like any other's. What a plain function or closure uses inside stays out of sight, so it must
    be in evaluation mode already, and its weights are not part of `weights_sha256`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.owner = owner
        self.training = False  # the wrapper has no mode of its own; its owner keeps the one it was given in

    def forward(self, x: Tensor) -> Tensor:
        """What the callable says of `x`. Raises: `ModelError` when that is not a tensor."""
        logits = self.function(x)
        if not isinstance(logits, Tensor):
            raise ModelError(
                f"the model {self._shown()} returned {type(logits).__name__}; "
                "allowed: a torch tensor of logits (N, K). Convert inside the function, keeping the gradient."
            )
        return logits

    def extra_repr(self) -> str:
        """The callable's name."""
        return self._shown()

    def _shown(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))
