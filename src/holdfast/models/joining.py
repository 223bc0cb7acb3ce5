"""Trained models joined into one, with a card like any other's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.models.cards import Card
from holdfast.models.ensemble import EnsembleOf
from holdfast.models.mc_dropout import MonteCarloDropoutOf
from holdfast.models.members import Committee
from holdfast.models.stacked import Stacked, StackedOf
from holdfast.options import to_plain

NAMES: dict[type, str] = {EnsembleOf: "ensemble", MonteCarloDropoutOf: "mc-dropout", StackedOf: "stacked"}


def join(
    members: Sequence[tuple[nn.Module, Card]],
    *,
    by: type[EnsembleOf] | type[MonteCarloDropoutOf] | type[StackedOf] = EnsembleOf,
    made: str = "joined",
    options: Mapping[str, Any] | None = None,
    combiner: tuple[Tensor, Tensor] | None = None,
) -> tuple[nn.Module, Card]:
    """One model of several trained ones, and its card, for `save`.

    Args: `members` each a model and its card, of the same classes and pictures; `by` how: `EnsembleOf`,
    `MonteCarloDropoutOf` (one member) or `StackedOf`; `made` how the members came about, for the card; `options` of
    `by`; `combiner` what `fit_combiner` gave, for `StackedOf`. The model is in evaluation mode, with copied weights.
    Raises: `ModelError` for members of other classes or pictures, or such as are recalibrated already.
    Cost: no pass.
    """
    for number, (_, card) in enumerate(members):
        _check_alike(number, card, members[0][1])
    record = by(members=tuple(_plain(card) for _, card in members), made=made, **(options or {}))
    card = Card(
        architecture=NAMES[by],
        options=to_plain(record),
        shape=members[0][1].shape,
        classes=members[0][1].classes,
    )
    model = card.build(seed=0)
    _fill(model, [member for member, _ in members])
    if combiner is not None and isinstance(model, Stacked):
        with torch.no_grad():
            model.combiner.weight.copy_(combiner[0])
            model.combiner.bias.copy_(combiner[1])
    cost = model.cost if isinstance(model, Committee) else 1
    trained = {"members": [dict(card.training) for _, card in members], "cost": cost}
    return model.eval(), replace(card, training=trained)


def _fill(model: nn.Module, members: Sequence[nn.Module]) -> None:
    """Put the members' weights into their places."""
    places = model.get_submodule("parts").children() if hasattr(model, "parts") else [model.get_submodule("model")]
    for place, member in zip(places, members, strict=True):
        dtypes = {value.dtype for value in member.state_dict().values() if value.is_floating_point()}
        if len(dtypes) == 1:
            model.to(dtypes.pop())
        place.load_state_dict(member.state_dict())


def _plain(card: Card) -> dict[str, Any]:
    plain = to_plain(card)
    return {key: plain[key] for key in ("architecture", "options", "mean", "std")}


def _check_alike(number: int, card: Card, first: Card) -> None:
    if (card.classes, card.shape) != (first.classes, first.shape):
        raise ModelError(
            f"member {number} is for pictures of shape {card.shape} in {len(card.classes)} classes, the first for "
            f"{first.shape} in {len(first.classes)}; allowed: the same for all. Train them on the same data."
        )
    if card.recalibration is not None:
        raise ModelError(
            f"member {number} is recalibrated; allowed: members as they were trained. Join those, then calibrate the "
            "whole: a mean of calibrated models is not calibrated."
        )
