"""The model as an attack from elsewhere gets it: counted, held to evaluation mode, and given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holdfast.access import Access
from holdfast.access.borrow import Model, same
from holdfast.access.oracle import checked
from holdfast.errors import AttackError


class Lent(nn.Module):
    """A model that answers what `access` allows and counts the pictures that pass, forward and backward.

    It has no training mode: libraries set and reset modes, and a batch norm must not learn from an attack.
    """

    def __init__(self, model: Model, access: Access) -> None:
        super().__init__()
        self.model, self.access = model, access
        self.forwards = self.backwards = 0
        self.training = False

    def train(self, mode: bool = True) -> "Lent":
        """Nothing: the mode is not the attack's to choose."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of pictures (N, C, H, W), as far as the attack may know them."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.access >= Access.GRADIENT):
            logits = checked(self.model(x.clone()), len(x))  # a copy, for a model that works in place
        self.forwards += len(x)
        if logits.requires_grad:
            logits.register_hook(self._back)
        if self.access > Access.LABELS:
            return logits
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)

    def _back(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@contextmanager
def unharmed(model: Model, name: str) -> Iterator[None]:
    """Give a model's weights, running statistics and `.grad` fields back as they were.

    Raises: `AttackError` when the attack changed weights or statistics, as it then attacked another model.
    Cost: a copy of the weights.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    tensors = [*model.parameters(), *model.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        changed = 0
        with torch.no_grad():
            for tensor, was in zip(tensors, kept, strict=True):
                if not same(tensor.detach(), was):
                    tensor.copy_(was)
                    changed += 1
    if changed:
        raise AttackError(
            f"{name} changed {changed} of the model's weights or running statistics; allowed: to ask the model and "
            "take gradients. They are back as they were. Leave the model in evaluation mode and step on the pictures."
        )
