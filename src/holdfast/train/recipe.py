"""What training does, as one frozen record."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from holdfast.augment import Augmentation, Mixup
from holdfast.errors import OptionError
from holdfast.options import to_plain
from holdfast.threats import Rendered
from holdfast.train.adversary import Adversary
from holdfast.train.awp import AWP
from holdfast.train.labels import Labels
from holdfast.train.loss import CrossEntropy, Loss
from holdfast.train.options import TrainOptions
from holdfast.train.step import Penalty


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, given the model and the pictures.

    Raises: `OptionError` for parts that contradict each other.
    """

    options: TrainOptions = field(default_factory=TrainOptions)
    loss: Loss = field(default_factory=CrossEntropy)
    augment: tuple[Augmentation, ...] = ()
    mixup: Mixup | None = None
    adversary: Adversary | None = None
    penalties: tuple[Penalty, ...] = ()
    awp: AWP | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot go together."""
        if self.options.watch == "robust" and (self.adversary is None or not self.options.attacked):
            raise OptionError(
                "Recipe: watch='robust' without pictures under attack; allowed: with an adversary and attacked >= 1. "
                "Add the adversary, or pass watch=validation."
            )
        if self.options.watch == "robust" and self.adversary is not None and self.adversary.unlimited:
            raise OptionError(
                f"Recipe: watch='robust' with attack {self.adversary.attack.name!r}, which heeds no radius, so that no "
                "picture withstands it; allowed: attacks within a radius. Pass watch=validation."
            )
        subtle = [penalty.name for penalty in self.penalties if getattr(penalty, "differences", False)]
        if subtle and self.options.precision != "float32":
            raise OptionError(
                f"Recipe: penalty {subtle[0]!r} by differences in precision={self.options.precision!r}, which rounds "
                "them away; allowed: precision=float32, or form=double-backward."
            )
        if self.mixup is not None:
            self._mixable()
        self._check_method()
        self._check_threat()

    def _mixable(self) -> None:
        """Refuse what needs one label a picture."""
        beside = "an adversary" if self.adversary else None if self.loss == CrossEntropy() else f"loss {self.loss!r}"
        if beside:
            raise OptionError(
                f"Recipe: mixup with {beside}; allowed: mixup with the plain cross-entropy, whose form it chooses, as "
                "its pictures have two labels. Leave one of them out."
            )

    def losses(self, logits: Tensor, labels: Labels) -> Tensor:
        """(N,), differentiable: of pictures with one label, or of mixed ones."""
        if self.mixup is None or labels.other is None or labels.share is None:
            return self.loss(logits, labels)
        return self.mixup.loss(logits, labels.y, labels.other, labels.share)

    def _check_method(self) -> None:
        """Raise for a loss that the method would not heed."""
        method = None if self.adversary is None else self.adversary.method
        if method is not None and method.own_loss and self.loss != CrossEntropy():
            raise OptionError(
                f"Recipe: loss {self.loss!r} with the method {method.name!r}, which has its own; allowed: the "
                "plain cross-entropy. Leave the loss out, or choose the method hardened or trades."
            )

    def _check_threat(self) -> None:
        """Raise for penalties that need to know the one threat there is."""
        for penalty in self.penalties:
            if not getattr(penalty, "wants_threat", False):
                continue
            if self.adversary is None or len(self.adversary.threats) > 1 or isinstance(self.adversary.threat, Rendered):
                raise OptionError(
                    f"Recipe: penalty {penalty.name!r} draws points within the adversary's threat; allowed: with an "
                    "adversary of one threat on pixels. Add Adversary(FGSM(), Linf(eps=8/255))."
                )

    def plain(self) -> dict[str, Any]:
        """As train.json has it."""
        return {
            "options": to_plain(self.options),
            "loss": named(self.loss),
            "augment": [named(one) for one in self.augment],
            "mixup": named(self.mixup) if self.mixup else None,
            "adversary": self.adversary.plain() if self.adversary else None,
            "penalties": [named(penalty) for penalty in self.penalties],
            "awp": named(self.awp) if self.awp else None,
        }


def named(record: Any) -> dict[str, Any]:
    """Name and options of a part, ready for JSON."""
    return {"name": record.name, **to_plain(record)}
