"""One run of scores of the unfamiliar: how well they tell it, what goes on record, and every picture's score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.evaluate import provenance
from holdfast.files import dump_json, write_atomically
from holdfast.models import Committee, Opened, refused_class
from holdfast.uncertainty import Judgement, judge
from holdfast.uncertainty.reading import Progress
from holdfast.uncertainty.scores import Score

FILE, SCORES_FILE = "ood.json", "scores.safetensors"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Unfamiliar:
    """What the scores came to."""

    judgement: Judgement
    plain: Mapping[str, Any]  # what ood.json holds


def unfamiliar(
    opened: Opened,
    scores: Sequence[Score],
    *,
    fitted_on: Pictures,
    inside: Pictures,
    outside: Pictures,
    layer: str | None = None,
    lenient: bool = False,
    batch: int = 256,
    seed: int = 0,
    out: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Unfamiliar:
    """Judge scores of suspicion by a model's familiar and unfamiliar pictures, and put that on record.

    Args: `opened` as `holdfast.models.open_model` gives it; the others as `holdfast.uncertainty.judge`; `out` a folder
    for ood.json and scores.safetensors, with the score of every picture and its place in its split; `command` (its
    words) goes on record.
    Raises: as `judge`, and `RunError` for files that cannot be written. Cost: as `judge`.
    """
    if refused_class(opened.model) is not None:
        raise OptionError(
            f"model {opened.source} is guarded by a detector; allowed: its classifier alone, in the folder classifier/ "
            "of a guarded one."
        )
    found = judge(
        scores,
        opened.model,
        fitted_on=fitted_on,
        inside=inside,
        outside=outside,
        layer=layer,
        lenient=lenient,
        batch=batch,
        seed=seed,
        progress=progress,
    )
    plain = {
        "format": FORMAT,
        "model": opened.source,
        "layer": found.layer,
        "passes_a_picture": opened.model.cost if isinstance(opened.model, Committee) else 1,
        "data": {
            "fitted_on": provenance.describe_data(fitted_on),
            "inside": provenance.describe_data(inside),
            "outside": provenance.describe_data(outside) | {"sha256": outside.sha256()},
        },
        "shared": found.shared,
        "scores": [one.to_plain() for one in found.judged],
        "left_out": [{"score": name, "because": why} for name, why in found.left_out],
        "seed": seed,
        "provenance": provenance.provenance(opened.model, inside, seed, command),
    }
    if out is not None:
        write_atomically(out / SCORES_FILE, _columns(found, inside, outside))
        write_atomically(out / FILE, dump_json(plain))
    return Unfamiliar(found, plain)


def _columns(found: Judgement, inside: Pictures, outside: Pictures) -> bytes:
    """One safetensors file's content."""
    from safetensors.torch import save

    tensors = {"inside.place": inside.place.clone(), "outside.place": outside.place.clone()}
    for one in found.judged:
        tensors[f"inside.{one.score.name}"] = torch.from_numpy(one.inside)
        tensors[f"outside.{one.score.name}"] = torch.from_numpy(one.outside)
    content: bytes = save({name: value.contiguous() for name, value in tensors.items()})
    return content
