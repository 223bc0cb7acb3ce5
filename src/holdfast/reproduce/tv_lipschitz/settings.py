"""What the reproduction of the talk on total variation is asked for, and the figures it sets ours beside."""

from dataclasses import dataclass
from typing import Any

from holdfast.attacks import FGSM
from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.threats import Linf
from holdfast.train import Adversary, Lipschitz, Penalty, Recipe, TotalVariation, TrainOptions

ERROR, ERROR_L2, ERROR_LINF = "error", "error at L2 0.1", "error at Linf 8/255"
L2_DISTANCE, TIME, LINF_DISTANCE = "median L2 distance", "median L2 time", "median Linf distance"
MAX_LOSS, MAX_F = "max ||grad l||_2", "max ||grad f||_2,inf"
MEAN_LOSS, MEAN_F = "mean ||grad l||_2", "mean ||grad f||_2,inf"
SLIDE = (ERROR, L2_DISTANCE, TIME, ERROR_L2, LINF_DISTANCE, ERROR_LINF, MAX_LOSS, MAX_F, MEAN_LOSS, MEAN_F)
PGD_L2, CW_L2, IFGSM_LINF = "error, PGD at L2 100/255", "error, CW at L2 1.5", "error, I-FGSM at Linf 8/255"
EARLIER = (ERROR, PGD_L2, CW_L2, IFGSM_LINF)  # of the talk's table 1

PLAIN, ONE_STEP, DIFFERENCES = "undefended", "l1 TV (AT, FGSM)", "l1 TV by differences"
TV, TV_LITTLE = "l2 TV 0.01", "l2 TV 0.01 + Lipschitz 0.1"
TV_MORE, TV_MOST = "l2 TV 0.1 + Lipschitz 0.1", "l2 TV 0.1 + Lipschitz 1"

FIGURES = {  # table 2 of the talk
    PLAIN: (0.0407, 0.09, 159, 0.5398, 2.7e-3, 1.00, 85.21, 13.70, 1.90, 0.37),
    ONE_STEP: (0.0387, 0.19, 301, 0.2326, 5.6e-3, 0.9274, 35.77, 6.27, 1.10, 0.21),
    TV: (0.0358, 0.30, 471, 0.1354, 9.0e-3, 0.9834, 32.13, 5.22, 0.59, 0.11),
    TV_LITTLE: (0.0413, 0.31, 473, 0.1252, 9.1e-3, 0.9810, 4.10, 2.14, 0.55, 0.10),
    TV_MORE: (0.0537, 0.48, 659, 0.1031, 13.7e-3, 0.916, 31.96, 8.93, 1.19, 0.47),
    TV_MOST: (0.0598, 0.52, 698, 0.1095, 14.7e-2, 0.937, 18.53, 4.87, 1.02, 0.46),
}
TABLE_1 = {  # of the talk; what it rounds there is as in table 2
    TV_LITTLE: (0.041, 0.598, 0.908, 0.981),
    TV_MORE: (0.054, 0.372, 0.912, 0.916),
    TV_MOST: (0.060, 0.361, 0.844, 0.937),
    "Madry et al.": (0.128, None, None, 0.542),  # of the second the talk says only: above 0.90
    "Qian": (0.228, None, 0.796, None),
}


def published(name: str) -> dict[str, float | None]:
    """All that the talk has of a row, the finer figure where it has two."""
    earlier = dict(zip(EARLIER, TABLE_1[name], strict=True)) if name in TABLE_1 else {}
    return {**earlier, **(dict(zip(SLIDE, FIGURES[name], strict=True)) if name in FIGURES else {})}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Network, pictures and effort. The talk names the network, eps and lambda; the rest is ours."""

    data: str = option("cifar-10", "set of pictures")
    model: str = option("resnet8", "architecture")
    pictures: int | None = option(10_000, "training pictures; none: all")
    test: int | None = option(500, "test pictures; none: all")
    carried: int = option(100, "test pictures that Carlini & Wagner's attack gets")
    epochs: int = option(8, "times that every training picture is seen")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")
    augment: bool = option(True, "crops and mirror images in training")
    fgsm_eps: float = option(1 / 255, "radius of the one-step adversary, and weight of the l1 form by differences")
    steps: int = option(50, "of each attack for the smallest change, and of PGD and I-FGSM half as many")
    walk: float = option(0.0025, "length of a step of the walk whose steps are counted as time")

    def __post_init__(self) -> None:
        """Refuse what gives no table; training options are checked where they are made."""
        for name, least in (("epochs", 1), ("batch", 1), ("steps", 2), ("carried", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"Settings: {name}={getattr(self, name)!r}; allowed: whole numbers >= {least}.")
        for name in ("fgsm_eps", "walk"):
            if not getattr(self, name) > 0:
                raise OptionError(f"Settings: {name}={getattr(self, name)!r}; allowed: numbers > 0.")


def recipes(settings: Settings) -> dict[str, Recipe]:
    """What each row trains with."""
    from holdfast.augment import Crop, Mirror

    plain: dict[str, Any] = {
        "epochs": settings.epochs,
        "batch": settings.batch,
        "optimiser": settings.optimiser,
        "learning_rate": settings.learning_rate,
        "schedule": settings.schedule,
    }
    augment = (Crop(), Mirror()) if settings.augment else ()

    def made(*penalties: Penalty, adversary: Adversary | None = None) -> Recipe:
        return Recipe(options=TrainOptions(**plain), augment=augment, penalties=penalties, adversary=adversary)

    one_step = Adversary(FGSM(), Linf(eps=settings.fgsm_eps))
    return {
        PLAIN: made(),
        ONE_STEP: made(adversary=one_step),
        DIFFERENCES: made(TotalVariation(eps=settings.fgsm_eps, norm="l1")),
        TV: made(TotalVariation(eps=0.01)),
        TV_LITTLE: made(TotalVariation(eps=0.01), Lipschitz(weight=0.1)),
        TV_MORE: made(TotalVariation(eps=0.1), Lipschitz(weight=0.1)),
        TV_MOST: made(TotalVariation(eps=0.1), Lipschitz(weight=1.0)),
    }
