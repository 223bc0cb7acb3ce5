"""Decision boundaries in two dimensions: a line, an ordinary network and an adversarially trained one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, run
from holdfast.drawing.field import field
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.generators import seeded
from holdfast.options import option, to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over, slug
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, falling, judged, mean_of, near, row
from holdfast.reproduce.toys.fit import fit
from holdfast.threats import Linf

GROUP = "S2 decision boundaries in two dimensions"
WHOLE, ATTACKED, RIGHT = "boxes whole", "boxes whole under PGD", "points right"
LINEAR, PLAIN, HARDENED = "linear", "network", "network, adversarially trained"
CELLS = 120  # of the picture, a side
CANDIDATES = 40_000
NORMAL, OFFSET = (0.8, 1.0), 0.9  # of the line that parts the classes


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """Points of two classes in the unit square that a line parts, while the boxes around them reach over it.

    Boxes of different classes keep a gap, so that a boundary that cuts none exists.
    Source: the picture of Madry et al. 2018, arXiv:1706.06083, fig. 3.
    """

    points: int = option(60, "points, of both classes together")
    eps: float = option(0.06, "half the side of the box around each")
    gap: float = option(0.03, "between the boxes of different classes, at least")
    margin: float = option(0.01, "of each point from the line, at least")
    width: int = option(128, "units in each of the two hidden layers")
    steps: int = option(1000, "of training, each on all points")
    rate: float = option(0.01, "of Adam at the beginning")
    attack_steps: int = option(10, "of PGD in training")
    test_steps: int = option(100, "of PGD in the test")
    grid: int = option(41, "points along each side of a box where the network is asked")

    def __post_init__(self) -> None:
        if not (0 < self.eps < 0.25 and self.gap >= 0 and self.margin > 0 and self.grid >= 2):
            raise OptionError(
                f"{self!r}: allowed: 0 < eps < 0.25, gap >= 0, margin > 0, grid >= 2. Leave them as they are."
            )


def measure(bench: Bench, settings: Boundaries) -> Table:
    """The three classifiers on the points of each seed."""
    parts = {name: _parts(bench, settings, name, made) for name, made in CLASSIFIERS.items()}
    rows = [
        row(name, some, {WHOLE: "whole", ATTACKED: "attacked", RIGHT: "right"}, published=forms, group=GROUP)
        for (name, some), forms in zip(parts.items(), _on_paper(parts[LINEAR]), strict=True)
    ]
    about = f"share of the boxes of radius {settings.eps:g} in Linf within which the answer is one and right, looked up"
    columns = (
        Column(WHOLE, about=f"{about} on a grid of {settings.grid} x {settings.grid} points with the corners"),
        Column(ATTACKED, about=f"the same by what PGD finds in {settings.test_steps} steps"),
        Column(RIGHT, about="share of the points themselves that are classified rightly"),
    )
    return Table(columns, tuple(rows), _orderings(rows), tuple(pictures(parts, settings.eps)))


def _parts(bench: Bench, settings: Boundaries, name: str, made: Callable[[Boundaries, int], nn.Module]) -> list[Part]:
    asked = to_plain(settings)
    return bench.each_seed(
        f"boundaries/{slug(name)}", asked, lambda seed, _: judged_on(made(settings, seed), settings, seed)
    )


def _on_paper(lines: Sequence[Part]) -> tuple[dict[str, float | None], ...]:
    """What a line's distances say, nothing of the network, and what a boundary can come to that heeds all boxes."""
    form = mean_over(lines, "closed_form")
    return (
        {WHOLE: form, ATTACKED: form, RIGHT: 1.0},
        {WHOLE: None, RIGHT: None},
        {WHOLE: 1.0, RIGHT: None},
    )


def _orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    right, uncut = mean_of(rows, LINEAR, RIGHT), mean_of(rows, LINEAR, WHOLE)
    numbers = {f"{LINEAR}, {RIGHT}": right, f"{LINEAR}, {WHOLE}": uncut}
    return (
        judged(
            "A line parts the points, and is wrong within the boxes around them.", right == 1 and uncut < 1, numbers
        ),
        near(
            "PGD cuts the boxes of a line just where margin / dual norm says so.",
            rows,
            [(LINEAR, WHOLE), (LINEAR, ATTACKED)],
            within=1e-9,
        ),
        falling(
            "Adversarial training leaves more boxes whole than ordinary training of the same network.",
            rows,
            WHOLE,
            (HARDENED, PLAIN),
        ),
        falling("It leaves more whole than any line can.", rows, WHOLE, (HARDENED, LINEAR)),
    )


def points(settings: Boundaries, seed: int) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 2) float32 and their classes (N,) int64, drawn one after the other, those too near left out.

    Raises: `OptionError` when there is no room for so many.
    """
    draws = Draws(seed, torch.arange(CANDIDATES))
    inside = settings.eps + (1 - 2 * settings.eps) * draws.uniform(torch.zeros(CANDIDATES, 2, dtype=torch.float64))
    normal = torch.tensor(NORMAL, dtype=torch.float64)
    distance = (inside @ normal - OFFSET) / normal.norm()
    kept: list[int] = []
    for place in torch.nonzero(distance.abs() >= settings.margin).flatten().tolist():
        others = torch.tensor(kept, dtype=torch.int64)
        far = (inside[others] - inside[place]).abs().amax(1) if kept else torch.ones(0)
        foreign = (distance[others] > 0) != (distance[place] > 0)
        if (far[foreign] >= 2 * settings.eps + settings.gap).all() and (far >= settings.eps / 2).all():
            kept.append(place)
        if len(kept) == settings.points:
            break
    else:
        raise OptionError(f"{settings!r}: room for {len(kept)} points only. Ask for fewer, or a smaller eps.")
    chosen = torch.tensor(kept)
    return inside[chosen].float().view(-1, 1, 1, 2), (distance[chosen] > 0).long()


def linear(settings: Boundaries, seed: int) -> nn.Module:
    """The line of the widest margin in L2, of all lines that part the points."""
    from sklearn.svm import SVC

    x, y = points(settings, seed)
    found = SVC(kernel="linear", C=1e8).fit(x.flatten(1).double().numpy(), y.numpy())
    layer = nn.Linear(2, 2)
    with torch.no_grad():  # two logits whose difference is the support vector machine's value
        layer.weight.copy_(torch.tensor(np.concatenate([-found.coef_, found.coef_]) / 2))
        layer.bias.copy_(torch.tensor(np.concatenate([-found.intercept_, found.intercept_]) / 2))
    return nn.Sequential(nn.Flatten(), layer).eval()


def network(settings: Boundaries, seed: int) -> nn.Module:
    """Two hidden layers, with weights drawn by the seed."""
    with seeded(seed, "boundaries", torch.device("cpu")):
        hidden = [nn.Linear(2, settings.width), nn.ReLU(), nn.Linear(settings.width, settings.width), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(settings.width, 2))


def plain(settings: Boundaries, seed: int) -> nn.Module:
    """A network trained on the points."""
    x, y = points(settings, seed)
    return fit(network(settings, seed), x, y, steps=settings.steps, rate=settings.rate)


def hardened(settings: Boundaries, seed: int) -> nn.Module:
    """The same network trained on what PGD finds in the boxes."""
    x, y = points(settings, seed)
    attack = PGD(steps=settings.attack_steps, step_size=2.5 / settings.attack_steps)
    threat, steps = Linf(eps=settings.eps), settings.steps
    return fit(network(settings, seed), x, y, steps=steps, rate=settings.rate, threat=threat, attack=attack, seed=seed)


CLASSIFIERS = {LINEAR: linear, PLAIN: plain, HARDENED: hardened}


def judged_on(model: nn.Module, settings: Boundaries, seed: int) -> dict[str, Any]:
    """What the part holds: shares of boxes, and the picture of the plane."""
    x, y = points(settings, seed)
    held = whole(model, x, y, settings.eps, settings.grid)
    attack = PGD(steps=settings.test_steps, step_size=0.1, restarts=2)
    found = run(attack, model, x, y, Linf(eps=settings.eps), seed=seed)
    with torch.no_grad():
        right = (model(x).argmax(1) == y).double().mean().item()
        said = model(middles(CELLS)).argmax(1).view(CELLS, CELLS)
    line = line_of(model)
    closed = None if line is None else whole_of_a_line(line, x, y, settings.eps).double().mean().item()
    return {
        "whole": held.double().mean().item(),
        "attacked": (~found.success).double().mean().item(),
        "right": right,
        "closed_form": closed,
        "held": held.tolist(),
        "points": x.flatten(1).tolist(),
        "labels": y.tolist(),
        "said": ["".join(map(str, line)) for line in said.tolist()],
    }


def whole(model: nn.Module, x: Tensor, y: Tensor, eps: float, grid: int) -> Tensor:
    """(N,) bool: the model is right at every point of a grid over the box of radius `eps`, corners included."""
    steps = torch.linspace(-eps, eps, grid, dtype=torch.float64)
    moves = torch.cartesian_prod(steps, steps)
    held = []
    with torch.no_grad():
        for one, label in zip(x.flatten(1).double(), y):
            said = model((one + moves).to(x.dtype).view(-1, 1, 1, 2)).argmax(1)
            held.append((said == label).all())
    return torch.stack(held)


def line_of(model: nn.Module) -> nn.Linear | None:
    """The one layer of a model that is a line, None of any other."""
    layers = [layer for layer in model.modules() if not list(layer.children()) and not isinstance(layer, nn.Flatten)]
    return layers[0] if len(layers) == 1 and isinstance(layers[0], nn.Linear) else None


def whole_of_a_line(layer: nn.Linear, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """(N,) bool: the distance to the line, margin / dual norm, is more than `eps` and on the right side."""
    weight = (layer.weight[1] - layer.weight[0]).detach().double()
    value = x.flatten(1).double() @ weight + float((layer.bias[1] - layer.bias[0]).detach())
    held: Tensor = (2 * y - 1) * value / weight.abs().sum() > eps
    return held


def middles(cells: int) -> Tensor:
    """(cells^2, 1, 1, 2): the middles of the cells of the unit square, rows from the bottom."""
    steps = (torch.arange(cells) + 0.5) / cells
    up, right = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([right, up], -1).view(-1, 1, 1, 2)


def pictures(parts: Mapping[str, Sequence[Part]], eps: float) -> list[Plot]:
    """The plane of the first seed as each classifier sees it."""
    drawn = []
    for name, some in parts.items():
        found = some[0].found
        said = np.array([[cell == "1" for cell in line] for line in found["said"]])
        dots = [(x, y, label) for (x, y), label in zip(found["points"], found["labels"])]
        svg = field(said, dots, eps, [not held for held in found["held"]], title=name)
        caption = f"Seed {some[0].seed}. Shaded: the second class is said. Boxes that the boundary cuts are red."
        drawn.append(Plot(name, svg, caption, (("first class", 0), ("second class", 1)), GROUP))
    return drawn
