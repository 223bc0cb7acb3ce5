"""A detector fitted beside a classifier, and its threshold."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.access.borrow import borrow, float_type, home
from holdfast.data import Pictures
from holdfast.detect.interface import Detector, Progress
from holdfast.detect.threshold import Threshold, check_rate, threshold
from holdfast.errors import ModelError
from holdfast.models.guarded import Guarded, Suspicion, refused_class
from holdfast.uncertainty import check_apart


@dataclass(frozen=True, eq=False)
class Fitted:
    """A guarded model and how its threshold came about."""

    model: Guarded
    detector: Detector
    threshold: Threshold
    misclassified: int  # of the clean pictures that the threshold is from; they count like the others
    clean: Tensor  # (n,) their suspicion

    @property
    def alike(self) -> int:
        """Clean pictures whose suspicion is the threshold itself, to the bit: one, unless some are alike to it."""
        return int((self.clean.double() == self.threshold.value).sum())

    @property
    def blind(self) -> bool:
        """Whether most clean pictures are alike to it: then it has learnt nothing, though rounding may part a few."""
        return 2 * self.alike > len(self.clean)


def fit(
    detector: Detector,
    model: nn.Module,
    pictures: Pictures,
    held_out: Pictures,
    *,
    false_alarms: float = 0.05,
    seed: int = 0,
    batch: int = 256,
    progress: Progress | None = None,
) -> Fitted:
    """Stand a detector beside a classifier, with a threshold from clean pictures that it was not fitted on.

    Args: `model` pictures (N, C, H, W) in [0, 1] to logits (N, K); `pictures` clean training pictures with their
    labels; `held_out` others, without one in common, for the threshold; `false_alarms` the share of clean pictures to
    come that may be refused (see `threshold`).
    The scale of the refusal is such that half of the clean pictures are as far from being refused as from being taken
    for another class.
    Raises: `ModelError` for a model that is guarded already, or an answer that is not finite; `DataError` for shared
    pictures, or too few; `OptionError` for a rate outside (0, 1).
    Cost: the detector's, and its own passes for `held_out`.
    """
    if refused_class(model) is not None:
        raise ModelError(
            "the model is guarded already; allowed: a classifier. Take the one inside: of a folder that "
            "`holdfast detect fit` wrote, its folder classifier/."
        )
    check_rate(false_alarms, len(held_out))
    check_apart(pictures, held_out)
    suspicion = detector.fit(model, pictures, seed=seed, batch=batch, progress=progress)
    logits, found = suspicions(suspicion, model, held_out, batch=batch)
    limit = threshold(found, false_alarms)
    apart = limit.value - float(found.double().median())
    scale = margin(logits) / apart if apart > 0 else 1.0
    guarded = Guarded(model, suspicion, limit.value, scale or 1.0, logits.shape[1])
    return Fitted(guarded, detector, limit, int((logits.argmax(1) != held_out.labels).sum()), found)


def margin(logits: Tensor) -> float:
    """The median distance of the two largest logits (n, K)."""
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return float((first - second).double().median())


def suspicions(
    suspicion: Suspicion,
    model: nn.Module,
    pictures: Pictures,
    *,
    batch: int = 256,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits (N, K) and suspicion (N,) of all pictures, on the CPU. Cost: the suspicion's passes."""
    found = []
    device, dtype = home(model, pictures.images), float_type(model)
    with torch.no_grad(), borrow(model), borrow(suspicion):
        for rows in torch.arange(len(pictures)).split(batch):
            logits, values = suspicion(model, pictures.x(rows, dtype).to(device))
            found.append((logits.cpu(), values.cpu()))
            if progress is not None:
                progress(int(rows[-1]) + 1, len(pictures))
    return torch.cat([one for one, _ in found]), torch.cat([two for _, two in found])
