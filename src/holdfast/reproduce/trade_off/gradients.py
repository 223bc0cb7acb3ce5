"""What the gradient to the pixels looks like, of the standard and of the robust networks, and two numbers for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.access import borrow
from holdfast.data import Pictures
from holdfast.drawing.pictures import rows_of_pictures
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Column, Plot, Table, falling, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.frontier import Frontier, Networks
from holdfast.reproduce.trade_off.ground import SHOWN, Ground

GROUP = "D7 input gradients"
ALIGNED, ROUGH = "alignment with the picture", "roughness of the gradient"
NOISE = math.sqrt(2)  # roughness of independent normal numbers
CLIP = 3.0  # standard deviations of a gradient that are shown as black or white
COLUMNS = (
    Column(ALIGNED, "cosine", "|<x, g>| / (||x|| ||g||), mean over test pictures: 1 where the gradient is the picture"),
    Column(
        ROUGH,
        "1.41 for noise",
        "mean difference of neighbouring values of the gradient over their mean size, mean over test pictures",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Gradients of the loss to the pixels, of the widest networks of `Frontier`.

    Source: Tsipras et al. 2019, arXiv:1805.12152, sec. 2.2, for the pictures; alignment cf. Etmann et al. 2019,
    arXiv:1905.04172, there not divided by the length of the picture; the roughness is this library's.
    """

    pictures: int = option(500, "test pictures that the numbers are means over")


def gradients_of(model: nn.Module, pictures: Pictures, batch: int = 250) -> Tensor:
    """(N, C, H, W) float64 on the CPU: the gradient of each picture's cross-entropy, the model in evaluation mode."""
    device = next(model.parameters()).device
    found = []
    with borrow(model) as lent, torch.enable_grad():
        for rows in torch.arange(len(pictures)).split(batch):
            x = pictures.x(rows).to(device).requires_grad_()
            loss = cross_entropy(lent(x), pictures.labels[rows].to(device), reduction="sum")
            found.append(torch.autograd.grad(loss, x)[0].double().cpu())
    return torch.cat(found)


def alignment(gradients: Tensor, x: Tensor) -> Tensor:
    """(N,) |cosine| between gradients and pictures, both (N, C, H, W); 0 where one of them is 0."""
    g, flat = gradients.flatten(1), x.flatten(1).to(gradients.dtype)
    sizes = g.norm(dim=1) * flat.norm(dim=1)
    return torch.where(sizes > 0, (g * flat).sum(1).abs() / sizes.clamp(min=1e-300), 0.0)


def roughness(gradients: Tensor) -> Tensor:
    """(N,) mean |difference| of neighbours, across and down, over the mean |value|, of (N, C, H, W); 0 for all zeros.

    The total variation over the L1 norm, both as means: 0 for a constant, sqrt(2) for normal noise, 2 for lone spikes.
    """
    down, across = gradients.diff(dim=2).abs().flatten(1), gradients.diff(dim=3).abs().flatten(1)
    level = gradients.abs().flatten(1).mean(1)
    return torch.where(level > 0, torch.cat([down, across], 1).mean(1) / level.clamp(min=1e-300), 0.0)


def looked_at(model: nn.Module, pictures: Pictures) -> dict[str, Any]:
    """The two numbers, means over the pictures, and the first few gradients as grey levels."""
    gradients = gradients_of(model, pictures)
    return {
        ALIGNED: float(alignment(gradients, pictures.x()).mean()),
        ROUGH: float(roughness(gradients).mean()),
        "shown": grey(gradients[:SHOWN]).tolist(),
    }


def grey(gradients: Tensor) -> Tensor:
    """(N, C, H, W) whole numbers from 0 to 255: middle grey at 0, the ends at `CLIP` standard deviations of each."""
    spread = gradients.flatten(1).std(dim=1, correction=0).clamp(min=1e-300)[:, None, None, None]
    return (127.5 + 127.5 * (gradients / (CLIP * spread)).clamp(-1, 1)).round().long()


def picture_rows(
    pictures: Pictures, shown: Mapping[str, Sequence[Any]]
) -> list[tuple[str, list[np.ndarray[Any, np.dtype[np.float64]]]]]:
    """The first test pictures, and named rows of what `looked_at` left of gradients, for `rows_of_pictures`."""
    rows = [("picture", [one.double().numpy() for one in pictures.x(slice(0, SHOWN))])]
    return rows + [(name, [np.asarray(one, dtype=np.float64) / 255 for one in some]) for name, some in shown.items()]


def measure(bench: Bench, ground: Ground, settings: Gradients, frontier: Frontier, found: Networks) -> Table:
    """The gradients of the widest networks that are there already."""
    width = frontier.widths[-1]
    pictures = shared.testing(bench, ground)
    pictures = pictures.take(slice(0, min(settings.pictures, len(pictures))))
    parts = {eps: _looked(bench, settings, pictures, eps, found[width, eps]) for eps in frontier.eps}
    rows = [row(named(eps), some, [ALIGNED, ROUGH], group=GROUP) for eps, some in parts.items()]
    names = [named(eps) for eps in frontier.eps]
    standard, robust = names[0], names[-1]
    orderings = (
        falling(
            "The gradients of a robust network align with the picture, those of a standard one less.",
            rows,
            ALIGNED,
            [robust, standard],
        ),
        falling("Those of a standard network are more like noise: rougher.", rows, ROUGH, [standard, robust]),
        falling("The larger the radius of training, the more they align.", rows, ALIGNED, names[::-1]),
    )
    return Table(COLUMNS, tuple(rows), orderings, (_plot(pictures, width, parts),))


def named(eps: float) -> str:
    """The name of a row."""
    return f"gradient, trained at {eps:g}" if eps else "gradient, standard"


def _looked(bench: Bench, settings: Gradients, pictures: Pictures, eps: float, trained: Sequence[Part]) -> list[Part]:
    asked = {**to_plain(settings), "sha256": pictures.sha256()}
    found = []
    for one in trained:

        def work(_: Path, one: Part = one) -> Mapping[str, Any]:
            return looked_at(networks.kept(bench, one), pictures)

        found.append(bench.part(f"gradients/eps-{eps:g}", asked, work, seed=one.seed, after=[one]))
    return found


def _plot(pictures: Pictures, width: float, parts: Mapping[float, Sequence[Part]]) -> Plot:
    shown = {(f"eps {eps:g}" if eps else "standard"): some[0].found["shown"] for eps, some in parts.items()}
    title = "Gradient of the loss to the pixels"
    svg = rows_of_pictures(picture_rows(pictures, shown), (), title=title)
    seed = next(iter(parts.values()))[0].seed
    caption = (
        f"Networks of width {width:g}, seed {seed}, the first test pictures. Grey is 0, black and white are "
        f"{CLIP:g} standard deviations of that gradient."
    )
    return Plot(title, svg, caption, (), GROUP)
