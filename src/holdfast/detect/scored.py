"""The scores of unfamiliar pictures as detectors of attacks: the same objects, with a gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.detect.interface import Progress
from holdfast.models import Committee
from holdfast.models.guarded import Suspicion
from holdfast.options import option
from holdfast.uncertainty.judging import reader_for
from holdfast.uncertainty.reading import last_layer, linears
from holdfast.uncertainty.scores import Score
from holdfast.uncertainty.scores.interface import Batch, Fitted
from holdfast.uncertainty.scores.mahalanobis import Distances
from holdfast.uncertainty.scores.nearest import Neighbours
from holdfast.uncertainty.scores.react import Rectified
from holdfast.uncertainty.scores.vim import VirtualLogit

LEARNT: dict[str, type] = {"mahalanobis": Distances, "nearest": Neighbours, "react": Rectified, "vim": VirtualLogit}
"""What fitting makes of a score, by its name; of the others nothing is learnt."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A score of `holdfast.uncertainty` beside a classifier.

    Cost: one forward pass a picture, of each member where there are several.
    """

    score: Score
    layer: str | None = option(None, "the linear layer whose input is looked at; none: the one that gives the logits")

    @property
    def name(self) -> str:
        """The score's."""
        return self.score.name

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """By one pass over the training pictures."""
        reader = reader_for([self.score], model, pictures, layer=self.layer, batch=batch)
        fitted = self.score.fit(reader.head(), reader.bank(pictures, progress))
        return ScoreSuspicion(self.score, reader.layer, fitted)

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> Suspicion:
        """The layer is found again; values are read into it."""
        found = None
        if self.score.needs == "features":
            found = last_layer(model, torch.full((2, *shape), 0.5), self.layer)
        return ScoreSuspicion(self.score, found, None)


class ScoreSuspicion(Suspicion):
    """A fitted score; features are what the layer is given in the classifier's own pass."""

    def __init__(self, score: Score, layer: str | None, fitted: Fitted | None) -> None:
        super().__init__()
        self.score, self.layer, self.fitted = score, layer, fitted
        self.learnt = nn.Module()  # what was learnt, under its names, for files and hashes
        if fitted is not None and score.name in LEARNT:
            self._keep(taken_apart(fitted))

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Put together what was learnt."""
        state = {name.removeprefix("learnt."): value for name, value in values.items()}
        kind = LEARNT.get(self.score.name)
        self.fitted = self.score.fit(None, ()) if kind is None else put_together(kind, state)
        self._keep(state)

    def _keep(self, state: Mapping[str, Tensor]) -> None:
        for name, value in state.items():
            self.learnt.register_buffer(name, value)

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the score (N,)."""
        if self.score.needs == "members" and isinstance(model, Committee):
            members = model.members(x)
            logits = model.joined(members)
            return logits, self._scored(logits, logits.new_empty(logits.shape[0], 0), members)
        given: list[Tensor] = []
        hook = None
        if self.layer is not None:
            hook = linears(model)[self.layer].register_forward_pre_hook(lambda _, args: given.append(args[0]))
        try:
            logits = model(x)
        finally:
            if hook is not None:
                hook.remove()
        features = given[0] if given else logits.new_empty(logits.shape[0], 0)
        return logits, self._scored(logits, features, logits.new_empty(0, *logits.shape))

    def _scored(self, logits: Tensor, features: Tensor, members: Tensor) -> Tensor:
        assert self.fitted is not None
        unknown = torch.full((logits.shape[0],), -1, device=logits.device)
        return self.fitted(Batch(logits, features, unknown, members)).to(logits)


def taken_apart(record: Any, before: str = "") -> dict[str, Tensor]:
    """A record's tensors and numbers, those of records within it by a longer name; text as its bytes."""
    found: dict[str, Tensor] = {}
    for entry in fields(record):
        value = getattr(record, entry.name)
        if is_dataclass(value):
            found |= taken_apart(value, f"{before}{entry.name}_")
        elif isinstance(value, str):
            found[before + entry.name] = torch.tensor(list(value.encode()), dtype=torch.uint8)
        elif isinstance(value, Tensor):
            found[before + entry.name] = value
        else:
            found[before + entry.name] = torch.tensor(value, dtype=torch.float64)
    return found


def put_together(kind: type, state: Mapping[str, Tensor], before: str = "") -> Any:
    """The record that was taken apart."""
    given: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and is_dataclass(hint):
            given[name] = put_together(hint, state, f"{before}{name}_")
        elif hint is Tensor:
            given[name] = state[before + name]
        else:
            value = state[before + name]
            given[name] = bytes(value.tolist()).decode() if hint is str else hint(value.item())
    return kind(**given)
