"""How steep a trained model is at given pictures: whether a penalty on the gradient has worked."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.access.borrow import float_type, home
from holdfast.data import Pictures
from holdfast.train.cut import rows_of


@dataclass(frozen=True)
class Slopes:
    """Euclidean lengths of gradients to the pixels, one a picture, in units of 1 over those of the pixels.

    The largest of many bounds the Lipschitz constant from below: of the loss, or of the answer in its largest value.
    """

    loss: Tensor  # (N,) of the cross-entropy of the label
    probabilities: Tensor  # (N,) of the softmax probability that is steepest
    logits: Tensor  # (N,) of the logit that is steepest

    def summary(self) -> dict[str, tuple[float, float]]:
        """Mean and largest of each, by name."""
        return {name: (float(values.mean()), float(values.max())) for name, values in vars(self).items()}


def slopes_of(model: nn.Module, pictures: Pictures, *, batch: int = 256) -> Slopes:
    """The slopes of a model at each picture, in float64 on the CPU; it is lent in evaluation mode.

    `probabilities` is the norm ||grad f||_{2,inf} of published tables of slopes: with f the logits, no ||grad l||_2
    could be above twice that norm, and there they are.
    Cost: a forward pass and a backward pass for each class.
    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, for the statistics.
    """
    device = home(model, pictures.images)
    found = []
    with borrow(model):
        for rows in rows_of(pictures, batch):
            x = pictures.x(rows, float_type(model)).to(device)
            found.append(_slopes(model, x, pictures.labels[rows].to(device)))
    return Slopes(*(torch.cat(parts).double().cpu() for parts in zip(*found, strict=True)))


def _slopes(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those of a batch."""
    with torch.enable_grad():
        x = x.requires_grad_()
        logits: Tensor = model(x)
        rows = [torch.autograd.grad(z.sum(), x, retain_graph=True)[0].flatten(1) for z in logits.unbind(1)]
    jacobian, p = torch.stack(rows, 1), logits.detach().softmax(1)[:, :, None]
    level = (p * jacobian).sum(1, keepdim=True)  # the gradient of log sum exp
    of_label = jacobian.gather(1, y[:, None, None].expand(-1, 1, jacobian.shape[2]))
    loss = torch.linalg.vector_norm(level - of_label, dim=2).squeeze(1)
    steepest = [torch.linalg.vector_norm(part, dim=2).amax(1) for part in (p * (jacobian - level), jacobian)]
    return loss, steepest[0], steepest[1]
