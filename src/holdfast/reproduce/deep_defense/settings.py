"""What the reproduction of the report on Deep Defense is asked for, and the figures it sets ours beside."""

from dataclasses import dataclass

from holdfast.errors import OptionError, unknown
from holdfast.options import option
from holdfast.reproduce.deep_defense.candidates import CANDIDATES

RHO = "rho2"
ACCURACY = "accuracy"
SHARES = (0.2, 0.5, 1.0)  # of eps_ref, at which the table has the accuracy
AT = {share: f"at {share:.1f} eps_ref" for share in SHARES}
COLUMNS = (ACCURACY, RHO, *AT.values())

VANILLA, FINE_TUNED, DEEP_DEFENSE = "vanilla", "adversarial training", "Deep Defense"
THREE = (VANILLA, FINE_TUNED, DEEP_DEFENSE)

FIGURES = {
    VANILLA: (0.8738, 3.92e-2, 0.7957, 0.6326, 0.3453),
    FINE_TUNED: (0.8813, 4.36e-2, 0.8150, 0.6831, 0.4297),
    DEEP_DEFENSE: (0.8799, 5.54e-2, 0.8274, 0.7181, 0.5088),
}
PUBLISHED = {name: dict(zip(COLUMNS, figures, strict=True)) for name, figures in FIGURES.items()}

# Ten classes, counted from 1 as the report does.
AREAS = {
    VANILLA: (0.8534, 0.9460, 0.9606, 0.9407, 0.9335, 0.9167, 0.8074, 0.9172, 0.9323, 0.9391),
    FINE_TUNED: (0.9884, 0.9995, 0.9822, 0.9941, 0.9839, 0.9994, 0.9605, 0.9986, 0.9989, 0.9988),
    DEEP_DEFENSE: (0.9878, 0.9995, 0.9817, 0.9939, 0.9843, 0.9993, 0.9587, 0.9984, 0.9989, 0.9987),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """As in the report; other values are for trying things out."""

    data: str = option("fashion-mnist", "set of pictures")
    limit: int | None = option(None, "pictures of each split; none: all")
    first: int = option(10, "epochs of plain training that all begin with")
    more: int = option(5, "epochs after them, of each kind")
    batch: int = option(64, "pictures a step, where a candidate has no other")
    candidates: tuple[str, ...] = option(tuple(CANDIDATES), "recipes among which the validation split chooses")

    def __post_init__(self) -> None:
        """Refuse what gives no table."""
        for name in ("first", "more", "batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"Settings: {name}={getattr(self, name)!r}; allowed: whole numbers >= 1.")
        if not self.candidates:
            raise OptionError("Settings: candidates=(); allowed: one or more, to choose among.")
        for one in self.candidates:
            if one not in CANDIDATES:
                raise unknown("candidate", one, CANDIDATES)
