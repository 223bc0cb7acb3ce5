"""How a model's answer changes as pictures are turned and shifted, on a grid, for a report to draw."""

import torch
from torch import Tensor

from holdfast.access import borrow
from holdfast.access.borrow import Model
from holdfast.losses import formulas
from holdfast.threats import Rotation

PICTURES = 32  # the first ones
ANGLES, SHIFTS = 31, 11


def landscape(model: Model, x: Tensor, y: Tensor, threat: Rotation, batch: int) -> dict[str, Tensor]:
    """Margins of the first `PICTURES` of some pictures (n, C, H, W) over angles and shifts to the right.

    Returns `landscape.margin` (m, ANGLES, SHIFTS) float32, above 0 while the prediction is the label; `landscape.angle`
    (ANGLES,) degrees, `landscape.shift` (SHIFTS,) shares of the width, both float32 from one end of the threat to the
    other. Cost: `ANGLES` * `SHIFTS` forward passes a picture, in evaluation mode.
    """
    eps = float(threat.eps)
    angles, shifts = (torch.linspace(-eps, eps, count, dtype=x.dtype, device=x.device) for count in (ANGLES, SHIFTS))
    every = torch.cartesian_prod(angles, torch.zeros_like(shifts[:1]), shifts)[..., None, None]
    rows = []
    with borrow(model) as lent, torch.no_grad():
        for picture, label in zip(x[:PICTURES], y[:PICTURES]):
            margins = []
            for part in every.split(batch):
                logits = lent(threat.render(picture.expand(len(part), *picture.shape), part))
                margins.append(formulas.margin(logits, label.expand(len(part))))
            rows.append(torch.cat(margins).view(ANGLES, SHIFTS))
    found = {"margin": torch.stack(rows), "angle": angles, "shift": shifts * threat.shift}
    return {f"landscape.{name}": tensor.float().cpu() for name, tensor in found.items()}
