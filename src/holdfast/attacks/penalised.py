"""Any gradient attack, with a price on what is rough and on what cannot be printed."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.attack import Asked
from holdfast.attacks.case import Case
from holdfast.attacks.fab_t import FABT
from holdfast.attacks.options import not_negative
from holdfast.attacks.wrapper import Wrapper, inside
from holdfast.errors import OptionError
from holdfast.losses.printing import non_printability, total_variation

MOST = 256  # colours of a palette read from a picture


@dataclass(frozen=True, kw_only=True)
class Penalised(Wrapper):
    """`attack` on its loss less `tv` times the total variation and `nps` times the non-printability of its point.

    Both are taken over the values that may change, in input units, of a free patch over the whole picture. They are
    sums, so their weights go with the loss: 0.01 to 0.1 for a loss in logits. The attack is shown the priced loss and
    its gradient; what counts as a success, and which point is kept, the model alone decides.
    Cost: the attack's; the terms and their gradients are arithmetic on points and need no pass of the model.
    Raises: `OptionError` for an attack without gradients, and for a palette that cannot be read or used.
    Source: Sharif et al. 2016, doi:10.1145/2976749.2978392, sec. 5.2, equations 3 to 5.
    """

    tv: float = field(default=0.0, metadata={"help": "weight of the total variation"})
    nps: float = field(default=0.0, metadata={"help": "weight of the non-printability"})
    palette: tuple[tuple[float, ...], ...] | None = field(
        default=None, metadata={"help": "printable colours, in input units; none for 27 even ones"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "tv", "nps")
        if isinstance(inside(self.attack), FABT):
            raise OptionError(
                "Penalised: fab-t takes losses for distances to a boundary, which a price would move; allowed: an "
                "attack that climbs a loss, such as PGD(), APGD() or LaVAN()."
            )
        if self.attack.access != Access.GRADIENT:
            raise OptionError(
                f"Penalised: {self.attack.name} asks for {self.attack.access.name.lower()}; allowed: an attack that "
                "asks for gradients of a loss, such as PGD(), APGD() or LaVAN()."
            )

    @property
    def needs_pictures(self) -> bool:
        """Both terms are of pixels."""
        return True

    def start(self, case: Case) -> tuple[Any, Query]:
        """As the attack does."""
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Asked]:
        """As the attack does, on the priced answer."""
        return self.attack.step(case, state, self.priced(case, answer))

    def priced(self, case: Case, answer: Gradient) -> Gradient:
        """The answer with the terms taken off each loss, and their gradients off its gradient."""
        if not (self.tv or self.nps):
            return answer
        lower, upper = case.limits
        allowed = upper > lower
        if answer.lane is not None:
            allowed = allowed[answer.lane]
        with torch.enable_grad():
            points = answer.points.detach().requires_grad_()
            price = self.price(points, allowed)
            (slope,) = torch.autograd.grad(price.sum(), points)
        price = price.detach()
        return replace(
            answer,
            losses=tuple(loss - price.to(loss) for loss in answer.losses),
            gradients=tuple(gradient - slope for gradient in answer.gradients),
        )

    def price(self, x: Tensor, allowed: Tensor) -> Tensor:
        """(N,): both terms, weighted."""
        total = self.tv * total_variation(x, allowed)
        if self.nps:
            colours = None if self.palette is None else torch.tensor(self.palette, dtype=x.dtype)
            total = total + self.nps * non_printability(x, colours, allowed)
        return total


def read_palette(path: Path | str) -> tuple[tuple[float, ...], ...]:
    """Colours in [0, 1]: an .npy file (P, C), a .csv of a colour a line, or the colours of a picture, 256 at most.

    Raises: `OptionError` for a file that cannot be read so.
    """
    import numpy as np

    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            table = np.load(path, allow_pickle=False).astype(float)
        elif path.suffix.lower() == ".csv":
            table = np.loadtxt(path, delimiter=",", ndmin=2)
        else:
            table = _colours(path)
        if (
            table.ndim != 2
            or not 1 <= len(table) <= MOST
            or not (np.isfinite(table) & (table >= 0) & (table <= 1)).all()
        ):
            raise ValueError(f"it holds {table.shape} values from {table.min():g} to {table.max():g}")
    except (OSError, ValueError) as error:
        raise OptionError(
            f"palette {str(path)!r} cannot be read: {type(error).__name__}: {error}; allowed: 1 to {MOST} colours in "
            "[0, 1], a line each in a .csv, a row each in an .npy, or as the colours of a PNG."
        ) from error
    return tuple(tuple(float(value) for value in row) for row in table)


def _colours(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        grey = image.mode in ("1", "L", "I", "I;16")
        pixels = np.array(image.convert("L" if grey else "RGB"))
    return np.unique(pixels.reshape(-1, 1 if grey else 3), axis=0) / 255
