"""Transfer: pictures made on one model and shown to another."""

from dataclasses import dataclass

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.access.borrow import Model
from holdfast.access.floats import picture_type, takes_float32
from holdfast.attacks import Attack, External, Reserve, run
from holdfast.attacks.attack import minimal, norms
from holdfast.attacks.external import Made
from holdfast.attacks.wrapper import inside
from holdfast.errors import HoldfastError, OptionError
from holdfast.models import weights_sha256
from holdfast.threats import Threat


@dataclass(frozen=True, kw_only=True)
class Through:
    """`attack` on `source`, whatever model the pictures are for.

    Each picture goes where the source's loss is highest, of the points that fool the source if any does, inside the
    threat; it does not stop at the first of them, since what just fools one model seldom fools another. Pictures that
    the source gets wrong are attacked as well. The noise of a picture is that of the same attack on the source alone.
    Raises: `OptionError` for an attack that has no loss to climb, or heeds no radius; and, naming the source, what the
    engine refuses. Cost: the attack's passes on the source, all steps of it, and none of the model.
    """

    source: Model
    attack: Attack
    name: str = "source"  # of the source
    batch: int = 256  # pictures a call of the source

    def __post_init__(self) -> None:
        check_attack(self.attack)

    def __call__(self, model: nn.Module | None, x: Tensor, y: Tensor, threat: Threat, seed: int, place: Tensor) -> Made:
        """Pictures (N, C, H, W) within the threat around `x`, made without a question to `model`."""
        given = x.to(picture_type(self.source)) if isinstance(self.source, nn.Module) else x
        try:
            found = run(
                self.attack,
                takes_float32(self.source),
                given,
                y,
                threat,
                seed=seed,
                batch=self.batch,
                picture=place,
                aim="highest_loss",
            )
        except HoldfastError as error:
            raise type(error)(f"on the source {self.name!r}: {error}") from error
        x_adv = found.x_adv.to(x)
        # Another float type rounds, perhaps to beyond the radius.
        return Made(x_adv if given.dtype == x.dtype else threat.project(x_adv, x), found.forward, found.backward)


def through(source: Model, attack: Attack, *, name: str = "source", batch: int = 256) -> External:
    """A transfer attack for `evaluate`: `attack` on `source`, its pictures replayed on the model under evaluation.

    Of that model it asks nothing; whether a picture fools it takes one forward pass, of which no more than the label
    counts. What the source does is counted apart.

    Args: `source` pictures (N, C, H, W) to logits of the same classes; `attack` one of our own within a radius, by
    gradients or scores; `name` of the source, for tables; `batch` pictures a call of it.
    Raises: `OptionError` as `Through`. Cost: as `Through`, when it runs.
    Source: Papernot et al. 2017, arXiv:1602.02697; Liu et al. 2017, arXiv:1611.02770.
    """
    return External(
        call=Through(source=source, attack=attack, name=name, batch=batch),
        name=f"{attack.name} through {name}",
        access=Access.LABELS,
        library="transfer",
        options=f"{attack!r} on {mark(source)}",
        norms=norms(attack),
        elsewhere=True,
    )


def mark(source: Model) -> str:
    """What tells a source from others: its kind, and the hash of its weights where it has any."""
    kind = type(source).__name__
    return f"{kind} {weights_sha256(source)[:16]}" if isinstance(source, nn.Module) else kind


def same_model(one: Model, other: Model) -> bool:
    """Whether two models are one: the same object, or of one kind with the same weights, so that attacks are white box.

    Modules without weights are told apart by what they are, not by what they say.
    """
    if one is other:
        return True
    modules = isinstance(one, nn.Module) and isinstance(other, nn.Module)
    return modules and type(one) is type(other) and mark(one) == mark(other) and has_weights(one)


def has_weights(model: Model) -> bool:
    """Whether there is any weight to tell a model by."""
    return isinstance(model, nn.Module) and any(True for _ in model.parameters())


def check_attack(attack: Attack) -> None:
    """Raise `OptionError` unless the attack climbs a loss within a radius and takes part whatever the checks say."""
    if isinstance(attack, type) or not isinstance(attack, Attack):
        raise OptionError(f"transfer: attack={attack!r}; allowed: one of our own attacks, such as MIFGSM().")
    if minimal(inside(attack)) or attack.access < Access.SCORES or isinstance(attack, Reserve):
        what = "looks for the smallest change" if minimal(inside(attack)) else "has no loss to climb"
        what = "is held in reserve" if isinstance(attack, Reserve) else what
        raise OptionError(
            f"transfer: {attack.name} {what}; allowed: attacks within a radius by gradients or scores. "
            "For example mi-fgsm, pgd or square."
        )
