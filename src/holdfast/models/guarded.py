"""A classifier with a detector beside it, as one model with a class more: refused."""

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Suspicion(nn.Module):
    """How suspicious pictures are to a fitted detector that stands beside a classifier.

    It is handed the classifier at every call and asks it itself, so that both can share a pass. `gradient` says how one
    comes back through it: "exact", "differences" where it is a quotient's, "straight_through" where a step of it is cut
    off, "none".
    """

    gradient: str = "exact"

    @abstractmethod
    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's logits (N, K) of pictures `x`, and the suspicion (N,): the larger, the more suspicious."""

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take the values of another's `state_dict`. Raises: `RuntimeError` for values of other names or shapes."""
        self.load_state_dict(dict(values))


class Guarded(nn.Module):
    """`model`, whose answer is refused where the suspicion is above `threshold`: logits (N, K + 1), the last for that.

    The other logits are the classifier's, less the largest of them. So that of refusal is above 0, and with it above
    all others, where the suspicion is above the threshold and nowhere else: it is `scale` times how far it is above.
    Args: `model` pictures to logits (N, K); `suspicion` fitted beside it; `classes` K; `scale` above 0.
    Cost: what the suspicion asks of the classifier.
    Source: cf. Carlini & Wagner 2017, arXiv:1705.07263, sec. 2.4, who join both in one classifier to attack them;
    theirs multiplies by the largest logit, which turns round where that is below 0.
    """

    def __init__(self, model: nn.Module, suspicion: Suspicion, threshold: float, scale: float, classes: int) -> None:
        super().__init__()
        self.model = model
        self.suspicion = suspicion
        self.classes = classes
        self.threshold: Tensor
        self.scale: Tensor
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Guarded":
        """Move or convert the model as any other, but leave threshold and scale their digits."""
        exact = {"threshold": self.threshold, "scale": self.scale}
        nn.Module._apply(self, fn, recurse)
        for name, value in exact.items():
            if not value.is_meta:  # which has no digits: `to_empty` makes room for those that are loaded later
                setattr(self, name, value.to(getattr(self, name).device))
        return self

    @property
    def refused(self) -> int:
        """The class of refusal."""
        return self.classes

    def refuses(self, suspicion: Tensor) -> Tensor:
        """Which of pictures with such suspicion (N,) are refused, (N,) bool; one that is NaN is."""
        return ~(suspicion.double() <= float(self.threshold))

    def suspect(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's logits (N, K) and the suspicion (N,) of pictures (N, C, H, W)."""
        logits, suspicion = self.suspicion(self.model, x)
        return logits, suspicion

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to logits (N, K + 1)."""
        logits, suspicion = self.suspect(x)
        # In float64, as `refuses` does: the threshold rounded would refuse others.
        refusal = (self.scale * (suspicion.double() - self.threshold)).to(logits)
        return torch.cat([logits - logits.amax(1, keepdim=True), refusal[:, None]], 1)


def refused_class(model: object) -> int | None:
    """The class by which a model refuses to answer; said by `refused`, which passes through what keeps its classes."""
    found = getattr(model, "refused", None)
    return found if isinstance(found, int) else None
