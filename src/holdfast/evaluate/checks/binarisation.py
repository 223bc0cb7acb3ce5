"""Does the attack find an adversarial point that surely exists?"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.access.borrow import Model
from holdfast.draws import Draws
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.threats import Rendered, Threat

RIDGE = 1e-4  # of the mean squared length of the points
ADVICE = (
    "The attack cannot follow the inside of this model even to a point that is known: do not believe its robust "
    "accuracy. Look at the checks of gradients; declare steps that hide them, or take more and other steps."
)


@dataclass(frozen=True)
class Binarisation:
    """With its last layer exchanged for one that a known point within the radius fools, the model is broken.

    For each of `pictures` pictures, `inner` random points within `share` of the radius and one on its surface are shown
    to the model, and a linear rule on the features before its last linear layer tells that one point from all others
    (pictures where none does are left out). The attack under evaluation, let loose on features and rule, must find
    that point's side. Finding fewer than `least` of them fails, fewer than `most` warns.
    Skipped where changes are counted or pictures rendered from parameters, and where fewer than `few` pictures remain
    that lie more than two radii apart from each other.
    Cost: `inner` forward passes a picture and the attack.
    Source: Zimmermann et al. 2022, arXiv:2206.13991, sec. 3; there 999 points inside, a logistic regression, and each
    picture by itself.
    """

    pictures: int = 24
    inner: int = 199
    share: float = 0.95
    least: float = 0.75
    most: float = 0.9
    few: int = 8
    name: ClassVar[str] = "binarisation"
    title: ClassVar[str] = "The attack finds a point that is known to be there"

    def look(self, sample: Sample) -> Finding:
        """From as many small problems with a known answer as there are pictures."""
        threat = sample.threat
        if isinstance(threat, Rendered) or threat.grain or float(threat.eps) == 0 or not sample.uses_gradients:
            return found(self, "skipped", "a surface around a picture and an attack with gradients are needed")
        apart = far_apart(sample.x, threat, self.pictures)
        layer = feature_layer(sample.model, sample.x[:2])
        sample.forward += 2
        heads, solved = self._heads(sample, threat, layer, apart)
        rows = apart[solved]
        if len(rows) < self.few:
            told = f"{len(rows)} pictures of the sample lend themselves to it, too few to tell"
            return found(self, "skipped", told)
        these = torch.zeros_like(sample.right)
        these[rows] = True  # `far_apart` gives rows in order, so they agree with the mask
        model = Reheaded(sample.model, layer, sample.x[rows], heads[solved], threat)
        inside = torch.zeros(len(rows), dtype=torch.int64, device=sample.y.device)
        attacked = sample.search(sample.attacks, model, threat, these, inside)
        hit, n = int(attacked.success.sum()), len(rows)
        evidence = f"of {n} known points {hit} are found"
        if hit < self.most * n:
            return found(self, "fail" if hit < self.least * n else "warn", evidence, ADVICE)
        return found(self, "pass", evidence)

    def _heads(self, sample: Sample, threat: Threat, layer: nn.Linear | None, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A linear head (m, D + 1) for each picture, and (m,) bool which of them tell their one point from the rest."""
        heads, solved = [], []
        for row in rows.tolist():
            points = self._points(sample, threat, row)
            parts = [features(layer, sample.ask, part) for part in torch.split(points, sample.batch)]
            head, right = separate(torch.cat(parts))
            heads.append(head)
            solved.append(right)
        return torch.stack(heads), torch.tensor(solved, device=rows.device)

    def _points(self, sample: Sample, threat: Threat, row: int) -> Tensor:
        """The picture, points within the share of the radius, and one on the surface."""
        x = sample.x[row : row + 1]
        many = x.repeat(self.inner + 1, *[1] * (x.ndim - 1))
        draws = Draws(
            sample.seed,
            sample.place[row : row + 1].to(x.device).repeat(len(many)),
            restart=torch.arange(len(many), device=x.device),
        )
        within = threat.with_eps(self.share * float(threat.eps)).sample(many, draws)
        return torch.cat([x, within[:-1], threat.edge(many, draws)[-1:]])


class Reheaded(nn.Module):
    """A model's features with another last layer for each of a few pictures: two classes, 1 for the known point.

    Pictures (N, C, H, W), each within the radius of one of `originals`, to logits (N, 2). Whose head a picture gets is
    told by the original next to it, which is certain as originals are more than two radii apart.
    """

    def __init__(self, model: Model, layer: nn.Linear | None, originals: Tensor, heads: Tensor, threat: Threat) -> None:
        super().__init__()
        self.model, self.layer = model, layer
        self.originals, self.heads, self.threat = originals, heads, threat

    def forward(self, x: Tensor) -> Tensor:
        """The rule's logits, 0 for class 0."""
        with torch.no_grad():
            away = torch.stack([self.threat.size(x.detach() - original) for original in self.originals])
            head = self.heads[away.argmin(0)]
        inside = features(self.layer, self.model, x).to(head.dtype)
        score = (inside * head[:, :-1]).sum(1) + head[:, -1]
        return torch.stack([torch.zeros_like(score), score], 1)


def feature_layer(model: Model, x: Tensor) -> nn.Linear | None:
    """The linear layer whose input `features` takes: the last one, if it is fed one row a picture, with a gradient."""
    last = (
        [module for module in model.modules() if isinstance(module, nn.Linear)] if isinstance(model, nn.Module) else []
    )
    if not last:
        return None
    with torch.enable_grad(), borrow(model) as lent, fed(last[-1]) as seen:
        logits = lent(x.clone().requires_grad_())
    row_each = len(seen) == 1 and len(seen[0]) == len(x)
    return last[-1] if row_each and seen[0].requires_grad == logits.requires_grad else None


def features(layer: nn.Linear | None, ask: Model, x: Tensor) -> Tensor:
    """(N, D): what is fed to `layer` while `ask` answers `x`; the logits where there is no such layer."""
    if layer is None:
        return ask(x)
    with fed(layer) as seen:
        ask(x)
    return seen[0].flatten(1)


@contextmanager
def fed(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what is fed to a layer, call by call."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        handle.remove()


def separate(points: Tensor) -> tuple[Tensor, bool]:
    """A linear head (D + 1,) that is positive on the last of `points` (n, D) and negative on all others, if it can be.

    By ridge regression on standardised features, solved through their n x n products as there may be many. The boundary
    lies half-way, and the scores of the known point and of the mean of the others are 10 apart, so that no loss
    saturates.
    """
    inside = points.detach().double()
    centred = inside - inside[:-1].mean(0)
    spread = centred[:-1].std(0)
    scaled = centred / torch.where(spread > 0, spread, 1.0)
    products = scaled @ scaled.t()
    ridge = RIDGE * products.diagonal().mean().clamp_min(1e-30)
    wanted = torch.zeros(len(inside), dtype=inside.dtype, device=inside.device)
    wanted[-1] = 1
    weight = scaled.t() @ torch.linalg.solve(products + ridge * torch.eye(len(inside)).to(products), wanted)
    weight = weight / torch.where(spread > 0, spread, 1.0)
    scores = inside @ weight
    scale = 10 / (scores[-1] - scores[:-1].mean()).clamp_min(1e-30)
    border = scale * (scores[-1] + scores[:-1].max()) / 2
    head = torch.cat([scale * weight, -border[None]]).to(points.dtype)
    return head, bool(scores[-1] > scores[:-1].max())


def far_apart(x: Tensor, threat: Threat, most: int) -> Tensor:
    """(m,) rows of `x`, in order: pictures more than two radii from each one before, so that no ball meets another."""
    kept: list[int] = []
    for row in range(len(x)):
        if len(kept) == most:
            break
        if not kept or bool((threat.size(x[kept] - x[row]) > 2 * float(threat.eps)).all()):
            kept.append(row)
    return torch.tensor(kept, device=x.device)
