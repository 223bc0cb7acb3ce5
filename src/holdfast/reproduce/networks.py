"""What reproductions that train networks share: pictures, training into a part's folder, and scores verified there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import models
from holdfast.attacks import Attack
from holdfast.data import Pictures, load
from holdfast.errors import AttackDidNothing
from holdfast.evaluate import Evaluation, evaluate
from holdfast.models import Card
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.threats import AnyThreat
from holdfast.train import Epoch, Recipe, Trained, train


@dataclass(frozen=True)
class Sets:
    """What is learnt, what is looked at between epochs, and what is reported."""

    training: Pictures
    validation: Pictures
    test: Pictures


def pictures(bench: Bench, name: str, split: str, limit: int | None = None) -> Pictures:
    """A split of a published set, from where the bench finds its data."""
    return load(name, split, data_dir=bench.data_dir, limit=limit)


def whole(*parts: Pictures) -> Pictures:
    """Several splits of one set as one: a source that holds nothing out trains on all of them."""
    first = parts[0]
    lengths = [0, *torch.tensor([len(part) for part in parts]).cumsum(0).tolist()]
    return replace(
        first,
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        place=torch.cat([part.place + start for part, start in zip(parts, lengths)]),
    )


def settings(recipe: Recipe, card: Card, *sets: Pictures, **more: Any) -> dict[str, Any]:
    """All that decides what a part finds, for `Bench.part`: recipe, architecture, hashes of the pictures."""
    return {
        "recipe": recipe.plain(),
        "model": {"architecture": card.architecture, "options": dict(card.options)},
        "data": [data_of(one) for one in sets],
        **more,
    }


def data_of(some: Pictures) -> dict[str, Any]:
    """Pictures, as settings of a part."""
    return {"name": some.name, "split": some.split, "n": len(some), "sha256": some.sha256()}


def kept(bench: Bench, part: Part, name: str = "model") -> nn.Module:
    """The network that a part has trained, read back from its folder, in evaluation mode on the bench's device."""
    model, _ = models.load(bench.out / part.place / name)
    return model.to(bench.device).eval()


def learn(
    bench: Bench,
    folder: Path,
    card: Card,
    training: Pictures,
    recipe: Recipe,
    seed: int,
    *,
    name: str = "model",
    validation: Pictures | None = None,
    weights: Mapping[str, Tensor] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    box: tuple[float, float] = (0.0, 1.0),
) -> Trained:
    """Train into a folder within a part's, going on with what an earlier call began there.

    `on_epoch` is called after each epoch of this call, not after those of an earlier one.
    """
    return train(
        card,
        training,
        recipe=recipe,
        validation=validation,
        weights=weights,
        seed=seed,
        device=bench.device,
        out=folder / name,
        resume=True,
        box=box,
        command=bench.command,
        progress=lambda done, total: bench.progress(done, total, f"training {folder.parent.name} {name}"),
        on_epoch=on_epoch,
    )


def attacked(
    bench: Bench,
    folder: Path,
    model: nn.Module,
    test: Pictures,
    threat: AnyThreat,
    attack: Attack | Sequence[Attack],
    eps: Sequence[float],
    *,
    name: str,
    seed: int = 0,
) -> Evaluation:
    """The accuracy under attack, every change verified, as a run folder of its own within a part's."""
    told = _Told(bench, f"attacking {folder.parent.name}: {name}")
    return evaluate(
        model,
        test,
        threat,
        attack,
        eps=eps,
        seed=seed,
        batch=250,
        out=folder / name,
        resume=True,
        checks=False,
        stand_in="off",
        progress=told,
        name=name,
        command=bench.command,
    )


@dataclass(frozen=True)
class Held:
    """Shares of test pictures that are right, and that stay right."""

    natural: float
    robust: tuple[float, ...]  # in the order of the radii
    idle: bool  # the attack moved no picture


def held(
    bench: Bench,
    folder: Path,
    model: nn.Module,
    test: Pictures,
    threat: AnyThreat,
    attack: Attack,
    eps: Sequence[float],
    *,
    name: str,
) -> Held:
    """The accuracy under attack at ascending radii, also of a network that has no gradient left.

    Training against too strong an adversary, or with too heavy a penalty, can end in a constant: no step of a gradient
    goes anywhere then, an evaluation refuses to call that robust, and what is right after the step is what was right
    before. `idle` says so.
    """
    try:
        found = attacked(bench, folder, model, test, threat, attack, eps, name=name)
    except AttackDidNothing:
        natural = accuracy(model, test)
        return Held(natural, (natural,) * len(eps), True)
    return Held(found.clean.rate, tuple(point.robust.rate for point in found.curve), False)


def idle_note(parts: Iterable[Part]) -> tuple[str, ...]:
    """What must be said of parts whose `found` is `idle`: a sentence, or none."""
    places = [part.place for part in parts if part.found.get("idle")]
    if not places:
        return ()
    return (
        f"No step of an attack moved a picture for {', '.join(places)}: the network's gradient is 0 everywhere it was "
        "taken. Accuracy under attack is the natural one there, and says nothing of robustness.",
    )


class _Told:
    """Progress of an evaluation as that of a bench."""

    def __init__(self, bench: Bench, text: str) -> None:
        self.bench, self.text = bench, text

    def update(self, done_pictures: int, total: int, text: str) -> None:
        """Pass it on."""
        self.bench.progress(done_pictures, total, self.text)


def accuracy(model: nn.Module, test: Pictures, batch: int = 500) -> float:
    """The share of pictures that the model gets right."""
    return float((answers(model, test, batch).argmax(1) == test.labels).double().mean())


def answers(model: nn.Module, test: Pictures, batch: int = 500) -> Tensor:
    """Logits (N, K) of all pictures, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        parts = [model(test.x(rows).to(device)).cpu() for rows in torch.arange(len(test)).split(batch)]
    return torch.cat(parts)


def curves(trained: Trained) -> dict[str, list[float]]:
    """Loss and accuracies of every epoch, for plots."""
    found: dict[str, list[float]] = {"loss": [epoch.loss for epoch in trained.history]}
    found["training"] = [epoch.train.rate for epoch in trained.history]
    for name in ("validation", "robust"):
        rates = [getattr(epoch, name) for epoch in trained.history]
        if all(rate is not None for rate in rates):
            found[name] = [rate.rate for rate in rates]
    return found
