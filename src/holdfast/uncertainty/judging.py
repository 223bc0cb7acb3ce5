"""Scores fitted on a model's training pictures, and judged by familiar and unfamiliar ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.errors import DataError, HoldfastError, ModelError
from holdfast.options import to_plain
from holdfast.uncertainty.reading import Bank, Progress, Reader, last_layer
from holdfast.uncertainty.scores.interface import Fitted, Score
from holdfast.uncertainty.separation import Separation, separate

SHARED = 0.01  # of unfamiliar pictures that may also be among the familiar ones: blank ones are in many sets


@dataclass(frozen=True, eq=False)
class Detector:
    """A fitted score with its model."""

    of: Score
    fitted: Fitted
    reader: Reader

    def score(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] to their suspicion (N,) float64. Raises: `ModelError` for NaN."""
        return torch.cat([self.fitted(self.reader.read(part)) for part in x.split(self.reader.batch)])


def fit(score: Score, model: nn.Module, pictures: Pictures, *, layer: str | None = None, batch: int = 256) -> Detector:
    """Fit a score on clean training pictures of the model.

    Args: `layer` the linear layer whose input the features are, found where it gives the logits.
    Raises: `ModelError` for a model without such a layer; `DataError` for too few pictures.
    Cost: one forward pass a picture.
    """
    reader = reader_for([score], model, pictures, layer=layer, batch=batch)
    return Detector(score, score.fit(reader.head(), reader.bank(pictures)), reader)


def reader_for(
    scores: Sequence[Score], model: nn.Module, pictures: Pictures, *, layer: str | None = None, batch: int = 256
) -> Reader:
    """A reader of all that the scores need. Raises: `ModelError` where the model does not have it."""
    needs = {score.needs for score in scores}
    found = last_layer(model, pictures.x(slice(0, 2)), layer) if "features" in needs else None
    return Reader(model, found, "members" in needs, batch)


@dataclass(frozen=True, eq=False)
class Judged:
    """One score, judged."""

    score: Score
    separation: Separation
    inside: NDArray[np.float64]  # (n,) scores of the familiar pictures
    outside: NDArray[np.float64]  # (m,)

    def to_plain(self) -> dict[str, Any]:
        """For JSON, without the scores of the pictures."""
        return {"score": self.score.name, "options": to_plain(self.score), **self.separation.to_plain()}


@dataclass(frozen=True, eq=False)
class Judgement:
    """All scores that could be judged, and why others could not."""

    judged: tuple[Judged, ...]
    left_out: tuple[tuple[str, str], ...]  # name and reason
    layer: str | None
    shared: int  # unfamiliar pictures that are among the familiar ones


def judge(
    scores: Sequence[Score],
    model: nn.Module,
    *,
    fitted_on: Pictures,
    inside: Pictures,
    outside: Pictures,
    layer: str | None = None,
    lenient: bool = False,
    batch: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """Fit the scores on training pictures and judge them by how they tell `outside` from `inside`.

    Args: `fitted_on` clean training pictures of the model; `inside` others of the same set, `outside` what it was not
    trained for, both in the model's shape; `layer` as `fit`; `lenient` leaves a score out that the model or the
    pictures do not suffice for, with the reason, instead of raising; `seed` of the bootstrap.
    Raises: `DataError` for sets that share pictures (by hash), or are too small; `ModelError` for answers that are not
    finite, or for no score that could be judged.
    Cost: one forward pass for every picture of the three sets, and one for each member besides for mutual information.
    """
    shared = check_apart(fitted_on, inside, outside)
    kept, left_out = _possible(scores, model, inside, layer, lenient)
    reader = reader_for(kept, model, inside, layer=layer, batch=batch)
    sets = (fitted_on, inside, outside)
    total = sum(map(len, sets))
    before = (0, len(fitted_on), len(fitted_on) + len(inside))
    banks = [
        reader.bank(pictures, _after(progress, start, total)) for pictures, start in zip(sets, before, strict=True)
    ]
    judged = []
    for score in kept:
        try:
            judged.append(_judged(score, reader, banks[0], banks[1], banks[2], seed))
        except HoldfastError as error:
            if not lenient:
                raise
            left_out.append((score.name, str(error)))
    if not judged:
        raise ModelError(f"no score could be judged: {'; '.join(why for _, why in left_out)}")
    return Judgement(tuple(judged), tuple(left_out), reader.layer, shared)


def _after(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress over one of several sets as progress over all."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _judged(score: Score, reader: Reader, known: Bank, inside: Bank, outside: Bank, seed: int) -> Judged:
    fitted = score.fit(reader.head(), known)
    values = [np.concatenate([fitted(batch).numpy() for batch in bank]) for bank in (inside, outside)]
    return Judged(score, separate(values[0], values[1], seed=seed), values[0], values[1])


def _possible(
    scores: Sequence[Score], model: nn.Module, pictures: Pictures, layer: str | None, lenient: bool
) -> tuple[list[Score], list[tuple[str, str]]]:
    """The scores that the model has what they need for, and the reasons against the others."""
    reasons: dict[str, str] = {}
    if layer is not None:
        last_layer(model, pictures.x(slice(0, 1)), layer)  # a layer that is not there is no reason to do without
    for need in dict.fromkeys(score.needs for score in scores):
        alike = [score for score in scores if score.needs == need]
        try:
            reader_for(alike, model, pictures, layer=layer).read(pictures.x(slice(0, 2)))
        except ModelError as error:
            if not lenient:
                raise
            reasons[need] = str(error)
    kept = [score for score in scores if score.needs not in reasons]
    if not kept:
        raise ModelError(f"no score could be judged: {'; '.join(reasons.values())}")
    return kept, [(score.name, reasons[score.needs]) for score in scores if score.needs in reasons]


def check_apart(fitted_on: Pictures, inside: Pictures, outside: Pictures) -> int:
    """How many unfamiliar pictures are also among the familiar ones, byte for byte.

    Raises: `DataError` where they are more than one in a hundred, or where most of the familiar ones were fitted on.
    """
    known, familiar, foreign = (pictures.digests() for pictures in (fitted_on, inside, outside))
    own = set(familiar)
    shared = sum(one in own for one in foreign)
    if shared > SHARED * len(foreign):
        raise DataError(
            f"{shared} of {len(foreign)} pictures of {outside.name} are among those of {inside.name}; allowed: sets "
            "that share none. Name another set to judge against."
        )
    seen = set(known)
    if (again := sum(one in seen for one in familiar)) > SHARED * len(familiar):
        raise DataError(
            f"{again} of {len(familiar)} familiar pictures are among those that the scores are fitted on; allowed: "
            "others. Take the test split, and fit on the training split."
        )
    return shared
