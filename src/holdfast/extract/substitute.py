"""A substitute: a model of one's own, trained on the labels that another one gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from holdfast.access import Access, borrow
from holdfast.access.borrow import Model, home
from holdfast.access.floats import picture_type, takes_float32
from holdfast.attacks.lent import Lent
from holdfast.attacks.options import at_least, positive
from holdfast.data import Pictures
from holdfast.errors import DataError, ModelError
from holdfast.models import Card, save
from holdfast.options import to_plain
from holdfast.train import Epoch, Recipe, Trained, train
from holdfast.train.history import Count


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Jacobian-based augmentation: pictures moved along the sign of the substitute's gradient of the victim's label.

    In each round the substitute is trained, every picture so far gets a second one, `step` away in every value, and
    the victim labels those: it is asked where the substitute's answer changes most. The pictures double each round.
    Source: Papernot et al. 2017, arXiv:1602.02697, sec. 4.2, algorithm 1.
    """

    rounds: int = field(default=0, metadata={"help": "how often the pictures are doubled"})
    step: float = field(default=0.1, metadata={"help": "how far each value moves, in widths of the box"})

    def __post_init__(self) -> None:
        at_least(self, 0, "rounds")
        positive(self, "step")


@dataclass(frozen=True)
class Substitute:
    """A trained substitute and how near it comes to the victim."""

    trained: Trained
    queries: int  # pictures that the victim labelled for training
    asked_to_compare: int  # pictures that it labelled to measure the agreement
    agreement: Count | None  # held-out pictures of which both say the same
    accuracy: Count | None  # held-out pictures that the substitute gets right
    victim_accuracy: Count | None  # and those that the victim does

    def plain(self) -> dict[str, Any]:
        """As the card has it."""
        rates = ("agreement", "accuracy", "victim_accuracy")
        counts = {name: None if (rate := getattr(self, name)) is None else rate.plain() for name in rates}
        return {"queries": self.queries, "asked_to_compare": self.asked_to_compare, **counts}


def substitute(
    victim: Model,
    card: Card,
    pictures: Pictures,
    *,
    recipe: Recipe | None = None,
    augmentation: Augmentation | None = None,
    held_out: Pictures | None = None,
    name: str | None = None,
    seed: int = 0,
    batch: int = 256,
    device: torch.device | str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
    progress: Callable[[int, int, str], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Substitute:
    """Train a model on pictures that the victim labels; of the victim nothing but the predicted class is used.

    The pictures' own labels play no part in training; with `held_out` they say how accurate both are.

    Args: `victim` pictures (N, C, H, W) to logits, lent as a model that answers with labels; `card` of the substitute
    (see `holdfast.train.card_for`); `pictures` in [0, 1] to be labelled; `recipe` of training, of each round;
    `augmentation` rounds of further pictures; `held_out` pictures to compare the two on, labelled after the training;
    `name` of the victim for the card; `batch` pictures a call of the victim; `device`, `out`, `resume`, `command`,
    `on_epoch` as `holdfast.train.train`: the folder is that of an ordinary training run, its card with an entry
    `training.substitute`, and a resumed run asks the victim again; `progress` is called with the pictures done, those
    in all and what is done.

    Raises: `DataError` for no pictures; `ModelError` for a victim whose classes are not those of the card; as `train`.
    Cost: a label of the victim for each picture, as many again in each round, and for each held out; a training a
    round and one more.
    Source: Papernot et al. 2017, arXiv:1602.02697; here each round trains anew from the same first weights.
    """
    more = augmentation or Augmentation()
    tell = progress or (lambda done, total, text: None)
    if not len(pictures):
        raise DataError(f"{pictures.name}: no pictures in split {pictures.split!r}; allowed: at least one to label.")
    with borrow(takes_float32(victim)) as whole:
        here = home(victim, pictures.images)
        labels = Labels(Lent(whole, Access.LABELS), picture_type(victim), here, len(card.classes), batch)
        known = labels.of(pictures, tell)
        for number in range(more.rounds):
            text = f"training round {number + 1} of {more.rounds + 1}"
            bar = _telling(tell, text)
            taught = train(card, known, recipe=recipe, seed=seed, device=device, empty_classes=True, progress=bar)
            known = joined(known, labels.of(moved(taught.model, known, more.step, batch), tell))
        queries = labels.asked
        compared = None if held_out is None else labels.of(held_out, tell)
        trained = train(
            card,
            known,
            recipe=recipe,
            validation=compared,
            empty_classes=True,
            seed=seed,
            device=device,
            out=out,
            resume=resume,
            command=command,
            progress=_telling(tell, f"training round {more.rounds + 1} of {more.rounds + 1}"),
            on_epoch=on_epoch,
        )
        found = Substitute(trained, queries, labels.asked - queries, *_rates(trained.model, compared, held_out, batch))
    if trained.folder is None or trained.card is None:
        return found
    told = {"victim": name or type(victim).__name__, "augmentation": to_plain(more), **found.plain()}
    card = replace(trained.card, training={**trained.card.training, "substitute": told})
    card = save(trained.folder, trained.model, card)
    return replace(found, trained=replace(trained, card=card))


class Labels:
    """The victim as its labels alone, counted."""

    def __init__(self, victim: Lent, dtype: torch.dtype, device: torch.device, classes: int, batch: int) -> None:
        self.victim, self.dtype, self.device, self.classes, self.batch = victim, dtype, device, classes, batch

    @property
    def asked(self) -> int:
        """How many pictures it has labelled."""
        return self.victim.forwards

    def of(self, pictures: Pictures, tell: Callable[[int, int, str], None]) -> Pictures:
        """The pictures with the victim's labels."""
        found = []
        for rows in torch.arange(len(pictures)).split(self.batch):
            answer = self.victim(pictures.x(rows, self.dtype).to(self.device))
            if answer.shape[1] != self.classes:
                raise ModelError(
                    f"the victim knows {answer.shape[1]} classes, the substitute's card {self.classes}; allowed: the "
                    "same. Choose the data that the victim was trained on."
                )
            found.append(answer.argmax(1).to(pictures.labels.device))
            tell(int(rows[-1]) + 1, len(pictures), "asking the victim")
        return replace(pictures, labels=torch.cat(found))


def moved(model: torch.nn.Module, known: Pictures, step: float, batch: int) -> Pictures:
    """Every picture `step` along the sign of the gradient of the logit of its label, in [0, 1], as bytes as before."""
    images = []
    here = home(model, known.images)
    for rows in torch.arange(len(known)).split(batch):
        with borrow(model) as lent, torch.enable_grad():
            x = known.x(rows, picture_type(model)).to(here).requires_grad_()
            chosen = lent(x).gather(1, known.labels[rows].to(here)[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, x)
        further = (x.detach() + step * gradient.sign()).clamp_(0, 1)
        images.append((further * 255).round().to(torch.uint8) if known.images.dtype == torch.uint8 else further.float())
    return replace(known, images=torch.cat(images).to(known.images.device))


def joined(known: Pictures, further: Pictures) -> Pictures:
    """Both, the further ones behind, with places of their own."""
    place = further.place + int(known.place.max()) + 1
    return replace(
        known,
        images=torch.cat([known.images, further.images]),
        labels=torch.cat([known.labels, further.labels]),
        place=torch.cat([known.place, place]),
    )


def _telling(tell: Callable[[int, int, str], None], text: str) -> Callable[[int, int], None]:
    return lambda done, total: tell(done, total, text)


def _rates(
    model: torch.nn.Module, compared: Pictures | None, held_out: Pictures | None, batch: int
) -> tuple[Count | None, Count | None, Count | None]:
    """Agreement, the substitute's accuracy and the victim's, on held-out pictures that the victim labelled."""
    if compared is None or held_out is None:
        return None, None, None
    here = home(model, held_out.images)
    with borrow(model) as lent, torch.no_grad():
        parts = [held_out.x(rows, picture_type(model)).to(here) for rows in torch.arange(len(held_out)).split(batch)]
        own = torch.cat([lent(part).argmax(1) for part in parts]).to(held_out.labels.device)
    pairs = ((own, compared.labels), (own, held_out.labels), (compared.labels, held_out.labels))
    agreement, right, of_victim = (Count(int((one == other).sum()), len(own)) for one, other in pairs)
    return agreement, right, of_victim
