"""Several models trained by one recipe, and joined into one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast import ranks
from holdfast.access.borrow import borrow, float_type, home
from holdfast.data import Pictures
from holdfast.errors import OptionError, RunError
from holdfast.files import dump_json, read_object, write_atomically
from holdfast.models import Card, StackedOf, fit_combiner, join, save
from holdfast.options import one_of, option, refused, to_plain
from holdfast.train.history import Epoch
from holdfast.train.recipe import Recipe
from holdfast.train.trainer import Trained, train

ABOUT = "ensemble.json"


@dataclass(frozen=True, kw_only=True)
class Members:
    """How the members of an ensemble come to differ.

    "seeds": first weights, order and noise. "bagging": those, and each learns from as many pictures drawn with
    replacement (Breiman 1996, doi:10.1007/BF00058655); a picture drawn twice is augmented alike both times.
    "stacking": as "seeds", joined by a linear combiner that is fitted on the validation pictures.
    "snapshots": one training in as many cycles, each from the weights that the one before ended with (Huang et al.
    2017, arXiv:1704.00109): the step size falls along a cosine in each, the epochs are shared out among them, and the
    optimiser's memory begins anew with the cycle.
    """

    count: int = option(5, "members")
    by: Literal["seeds", "bagging", "stacking", "snapshots"] = option("seeds", "how they come to differ")

    def __post_init__(self) -> None:
        """Refuse what is no ensemble."""
        one_of(self, "by")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 2:
            raise refused(self, "count", "whole numbers >= 2", "For one model, leave it out.")

    def recipe(self, recipe: Recipe) -> Recipe:
        """What each member is trained by. Raises: `OptionError` for epochs that cycles cannot share evenly."""
        if self.by != "snapshots":
            return recipe
        if recipe.options.epochs % self.count:
            raise OptionError(
                f"snapshots: {recipe.options.epochs} epochs in {self.count} cycles; allowed: a multiple of the cycles, "
                f"such as {self.count * max(1, round(recipe.options.epochs / self.count))}."
            )
        each = recipe.options.epochs // self.count
        return replace(recipe, options=replace(recipe.options, epochs=each, schedule="cosine"))

    def pictures(self, pictures: Pictures, seed: int) -> Pictures:
        """What a member with this seed learns from."""
        if self.by != "bagging":
            return pictures
        drawn = torch.Generator().manual_seed(seed)
        return pictures.take(torch.randint(len(pictures), (len(pictures),), generator=drawn).sort().values)


def train_ensemble(
    card: Card,
    pictures: Pictures,
    members: Members,
    *,
    recipe: Recipe | None = None,
    weights: Mapping[str, Tensor] | None = None,
    validation: Pictures | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    out: Path | str,
    resume: bool = False,
    command: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> tuple[nn.Module, Card, tuple[Trained, ...]]:
    """Train the members in turn, with seeds `seed`, `seed` + 1, ..., and join them.

    Args: as `train`; `members` how many, and how they differ; `out` a folder, which gets a run folder `member-0`, ...
    each and the joined model; `resume` goes on with an ensemble that was killed; `on_epoch` is told the member too.
    Returns the joined model, its card, and the trainings.
    Raises: as `train`; `RunError` for a folder in use, or one begun with other members; `OptionError` for stacking
    without validation pictures.
    Cost: as many trainings ("snapshots": one); each answer costs as many passes as there are members.
    Source: Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474, for "seeds".
    """
    if members.by == "stacking" and validation is None:
        raise OptionError("stacking without validation pictures; allowed: with them. Leave --no-validation out.")
    made = members.recipe(recipe or Recipe())
    folder = begin(Path(out), {"format": 1, "members": to_plain(members), "seed": seed}, resume=resume)
    trained: list[Trained] = []
    for number in range(members.count):
        previous = trained[-1].model.state_dict() if trained and members.by == "snapshots" else weights
        trained.append(
            train(
                card,
                members.pictures(pictures, seed + number),
                recipe=made,
                weights=previous,
                validation=validation,
                seed=seed + number,
                device=device,
                out=folder / f"member-{number}",
                resume=resume,
                command=command,
                progress=_shifted(progress, number, members.count),
                on_epoch=_told(on_epoch, number),
            )
        )
    pairs = [(one.model, one.card) for one in trained if one.card is not None]
    model, joined = join_runs(pairs, by=members.by, validation=validation)
    if not ranks.rank():
        save(folder, model, joined)
    return model, joined, tuple(trained)


def join_runs(
    members: Sequence[tuple[nn.Module, Card]], *, by: str = "seeds", validation: Pictures | None = None
) -> tuple[nn.Module, Card]:
    """The members as one model: by the mean of probabilities, or "stacking" with a combiner fitted on `validation`.

    Raises: `ModelError` for members that do not go together, `OptionError` for stacking without pictures.
    """
    if by != "stacking":
        return join(members, made=by)
    if validation is None:
        raise OptionError("stacking without held-out pictures; allowed: with them. Add --data NAME.")
    logits = torch.stack([answers(model, validation) for model, _ in members])
    return join(members, by=StackedOf, made=by, combiner=fit_combiner(logits, validation.labels))


def answers(model: nn.Module, pictures: Pictures, batch: int = 256) -> Tensor:
    """The logits (N, K) of all pictures, on the CPU."""
    where, kind = home(model, pictures.images), float_type(model)
    with torch.no_grad(), borrow(model):
        rows = range(0, len(pictures), batch)
        return torch.cat([model(pictures.x(slice(at, at + batch), kind).to(where)).cpu() for at in rows])


def begin(folder: Path, about: Mapping[str, object], *, resume: bool) -> Path:
    """The folder of an ensemble: a new one, or with `resume` the one of the same members. Raises: `RunError`."""
    if ranks.rank():  # the first of several processes looks after the folder
        return folder
    there = folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{str(folder)!r} is a file; allowed: a folder for the ensemble. Name another --out.")
    if there and not resume:
        raise RunError(f"{str(folder)!r} is not empty; allowed: a new folder, or --resume to go on with an ensemble.")
    if there and (was := read_object(folder / ABOUT)) != about:
        raise RunError(
            f"{str(folder)!r} was begun as {was.get('members')}, seed {was.get('seed')}; now {about['members']}, seed "
            f"{about['seed']}. Resume with the same, or name another --out."
        )
    if not there:
        write_atomically(folder / ABOUT, dump_json(dict(about)))
    return folder


def _shifted(progress: Callable[[int, int], None] | None, number: int, count: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(number * total + done, count * total)


def _told(on_epoch: Callable[[int, Epoch], None] | None, number: int) -> Callable[[Epoch], None] | None:
    return None if on_epoch is None else lambda epoch: on_epoch(number, epoch)
