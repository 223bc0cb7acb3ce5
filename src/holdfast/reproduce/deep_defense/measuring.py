"""What the report on Deep Defense measures: rho2, eps_ref, accuracy on pictures of FGSM, ROC curves by class."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.access.borrow import float_type, home, resting
from holdfast.data import Pictures
from holdfast.errors import RunError
from holdfast.train.penalties.deep_defense import deepfool, relative

STEPS, OVERSHOOT = 5, 1.02  # of algorithm 1 of the report
BATCH = 500
GRID = 128  # radii up to 1 at which the first one that fools half is sought
FINE = 1e-6  # to which it is then found


def moves(model: nn.Module, pictures: Pictures) -> Tensor:
    """DeepFool's change of every picture, (N, C, H, W) on the CPU, at most five steps, nothing cut to the box.

    Every picture is led away from the class that the model gives it, right or wrong, as in the report's algorithm.
    """
    device, found = home(model, pictures.images), []
    with resting(model):
        for rows in torch.arange(len(pictures)).split(BATCH):
            x = pictures.x(rows, float_type(model)).to(device)
            found.append(deepfool(model, x, STEPS, OVERSHOOT)[0].detach().cpu())
    return torch.cat(found)


def deepfooled(model: nn.Module, pictures: Pictures) -> Pictures:
    """The pictures moved by DeepFool, as float32, not cut to the box: cut, hardly one would still fool the model."""
    return replace(pictures, images=pictures.x() + moves(model, pictures).float())


def rho2(model: nn.Module, pictures: Pictures) -> float:
    """The mean length of DeepFool's changes, each over that of its picture."""
    return float(relative(moves(model, pictures), pictures.x()).double().mean())


class Signs:
    """The one-step attack on a model: its directions are found once, and serve every radius."""

    def __init__(self, model: nn.Module, pictures: Pictures) -> None:
        self.model, self.pictures = model, pictures
        self.device, parts = home(model, pictures.images), []
        with resting(model):
            for rows in torch.arange(len(pictures)).split(BATCH):
                x = pictures.x(rows, float_type(model)).to(self.device).requires_grad_()
                losses = cross_entropy(model(x), pictures.labels[rows].to(self.device), reduction="sum")
                parts.append(torch.autograd.grad(losses, x)[0].sign().to(torch.int8).cpu())
        self.signs = torch.cat(parts)

    def pictures_at(self, eps: float, rows: Tensor) -> Tensor:
        """The moved pictures of some rows, cut to the box."""
        return (self.pictures.x(rows) + eps * self.signs[rows]).clamp(0, 1)

    def accuracy(self, eps: float) -> float:
        """The share of the moved pictures that the model gets right."""
        right = 0
        with resting(self.model), torch.no_grad():
            for rows in torch.arange(len(self.pictures)).split(BATCH):
                x = self.pictures_at(eps, rows).to(self.device, float_type(self.model))
                right += int((self.model(x).argmax(1).cpu() == self.pictures.labels[rows]).sum())
        return right / len(self.pictures)


def reference(model: nn.Module, pictures: Pictures) -> float:
    """eps_ref: the smallest radius at which the one-step attack leaves the model right on half the pictures at most.

    Sought on a grid from 0 up, as accuracy need not fall all the way, then bisected between the last radius of the
    grid that leaves more and the first that does not.
    Raises: `RunError` where there is none up to 1, or where the model is wrong on half the pictures as they are.
    """
    attack = Signs(model, pictures)
    if attack.accuracy(0.0) <= 0.5:
        raise RunError("eps_ref: the model is wrong on half the pictures as they are. Train it for longer.")
    for step in range(1, GRID + 1):
        if attack.accuracy(step / GRID) <= 0.5:
            return bisected(attack, (step - 1) / GRID, step / GRID)
    raise RunError("eps_ref: no one-step attack up to eps=1 fools the model on half the pictures; it cannot be told.")


def bisected(attack: Signs, low: float, high: float) -> float:
    """A radius at which at most half is right, and `FINE` below which more is; so it is at `high` and `low`."""
    while high - low > FINE:
        middle = (low + high) / 2
        low, high = (low, middle) if attack.accuracy(middle) <= 0.5 else (middle, high)
    return high


def areas(probabilities: Tensor, labels: Tensor) -> list[float]:
    """The area under the ROC curve of each class against the others, by its probability."""
    from sklearn.metrics import roc_auc_score

    return [
        float(roc_auc_score((labels == k).numpy(), probabilities[:, k].double().numpy()))
        for k in range(probabilities.shape[1])
    ]


def curve(probabilities: Tensor, labels: Tensor, k: int, most: int = 60) -> list[list[float]]:
    """Points (false positives, true positives) of the ROC curve of class k, at most so many, the ends among them."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve((labels == k).numpy(), probabilities[:, k].double().numpy())
    # Evenly along the curve, which rises before it goes right: by either share alone most points would be lost.
    along = torch.from_numpy(false + true)
    wanted = torch.linspace(0, 2, most, dtype=along.dtype)
    rows = torch.searchsorted(along, wanted).clamp(max=len(along) - 1).unique()
    return [[float(false[row]), float(true[row])] for row in rows.tolist()]


def shown(values: Tensor) -> list[Any]:
    """Pictures as lists, to three digits: enough to be looked at."""
    found: list[Any] = [[[[round(v, 3) for v in row] for row in part] for part in one] for one in values.tolist()]
    return found
