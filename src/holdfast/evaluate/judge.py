"""Attacks on a guarded model: by who does not know its detector, and by who does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.access import Access
from holdfast.access.borrow import borrow, float_type, home
from holdfast.attacks import Aim, Attack, EvasiveCW, OrthogonalAPGD, OrthogonalPGD, run, smallest
from holdfast.attacks.attack import guarded, minimal, suits
from holdfast.data import Pictures
from holdfast.detect import suspicions
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import edges
from holdfast.evaluate.verify import verify
from holdfast.models import Guarded
from holdfast.threats import AnyThreat, whole_box


@dataclass(frozen=True, eq=False)
class Found:
    """What one attack found, on the pictures that the classifier gets right."""

    x_adv: Tensor  # (n, C, H, W)
    success: Tensor  # (n,) bool, by the verifier: wrong, and not refused where the guarded model was attacked
    size: Tensor  # (n,) float64
    suspicion: Tensor  # (n,)
    prediction: Tensor  # (n,) int64, the classifier's


@dataclass(frozen=True, eq=False)
class Judged:
    """One attack against the detector."""

    attack: Attack
    oblivious: Found  # stopped at its first success, or at the smallest
    full: Found | None  # with all its steps, to the highest loss; None for attacks that look for the smallest change
    adaptive: Found  # on classifier and detector at once


class Judge:
    """One guarded model and the pictures that it is judged by."""

    def __init__(
        self, model: Guarded, pictures: Pictures, threat: AnyThreat, within: AnyThreat, seed: int, batch: int
    ) -> None:
        self.model, self.pictures, self.threat, self.seed, self.batch = model, pictures, threat, seed, batch
        self.limit = float(model.threshold)
        self.within = within.with_eps(whole_box(within, pictures.shape))
        there, dtype = home(model, pictures.images), float_type(model)
        logits, self.clean = suspicions(model.suspicion, model.model, pictures, batch=batch)
        self.right = logits.argmax(1) == pictures.labels
        if not bool(self.right.any()):
            raise DataError(f"the classifier gets none of {len(pictures)} pictures right; allowed: at least one.")
        rows = self.right.nonzero().flatten()
        self.x = pictures.x(rows, dtype).to(there)
        self.y = pictures.labels[rows].to(there)
        self.place = pictures.place[rows]
        self.refused = model.refuses(self.clean)  # (N,) of the clean pictures

    def threat_of(self, attack: Attack) -> AnyThreat:
        """The threat that an attack is given."""
        return self.within if minimal(attack) else self.threat

    def check(self, attack: Attack) -> None:
        """Raises: `OptionError` for one that knows the detector anyway, or has no form for its threat."""
        if guarded(attack):
            raise OptionError(
                f"{attack.name} attacks classifier and detector and cannot be unaware of it; allowed: attacks on "
                "classifiers. Who is aware runs it after each of them by itself."
            )
        threat = self.threat_of(attack)
        if not suits(attack, threat):
            raise OptionError(
                f"{attack.name} has no form for {threat.name}; allowed: attacks that have. Attacks that look for the "
                f"smallest change are judged in {self.within.name}, the others in {self.threat.name}."
            )

    def by(self, attack: Attack, tell: Callable[[str], None] | None) -> Judged:
        """Both columns of one attack."""
        say = tell or (lambda text: None)
        say(f"{attack.name}, unaware")
        oblivious = self.search([attack], self.model.model)
        full = None
        if not minimal(attack):
            say(f"{attack.name}, unaware, all steps")
            full = self.search([attack], self.model.model, highest=True)
        say(f"{attack.name}, aware")
        adaptive = self.search([attack, *evasions(attack, self.threat_of(attack))], self.model)
        known = [oblivious] if full is None else [oblivious, full]
        return Judged(attack, oblivious, full, self.with_passed(adaptive, known))

    def search(self, attacks: Sequence[Attack], model: Any, *, highest: bool = False) -> Found:
        """What attacks find on a model, the classifier or the guarded one."""
        threat = self.threat_of(attacks[0])
        options: dict[str, Any] = {"seed": self.seed, "batch": self.batch, "picture": self.place}
        if minimal(attacks[0]):
            found = smallest(attacks, model, self.x, self.y, threat, **options)
        else:
            aim: Aim = "highest_loss" if highest else "first_success"
            found = run(attacks, model, self.x, self.y, threat, aim=aim, **options)
        return self.verified(found.x_adv, model, threat, found.parameters)

    def verified(self, x_adv: Tensor, model: Any, threat: AnyThreat, parameters: Tensor | None) -> Found:
        """What is true of the pictures found."""
        verdict = verify(
            model,
            self.x,
            x_adv,
            self.y,
            **edges.measured(threat, parameters),
            batch=self.batch,
            refuse_nothing=False,
        )
        logits, suspicion = self.suspect(x_adv)
        return Found(x_adv, verdict.success.cpu(), verdict.size.cpu(), suspicion, logits.argmax(1))

    def suspect(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, K) and suspicion (n,) of pictures, on the CPU."""
        with torch.no_grad(), borrow(self.model):
            pairs = [self.model.suspect(part) for part in x.split(self.batch)]
        return torch.cat([one.cpu() for one, _ in pairs]), torch.cat([two.cpu() for _, two in pairs])

    def with_passed(self, adaptive: Found, unaware: Sequence[Found]) -> Found:
        """The smallest of what passes the detector: who knows it may use what was found without knowing it too."""
        best = adaptive
        for other in unaware:
            passed = other.success & ~self.model.refuses(other.suspicion)
            better = passed & (~best.success | (other.size < best.size))
            column = better.to(best.x_adv.device).view(-1, *[1] * (best.x_adv.ndim - 1))
            best = Found(
                torch.where(column, other.x_adv, best.x_adv),
                best.success | passed,
                torch.where(better, other.size, best.size),
                torch.where(better, other.suspicion, best.suspicion),
                torch.where(better, other.prediction, best.prediction),
            )
        return best


def evasions(attack: Attack, threat: AnyThreat) -> tuple[Attack, ...]:
    """The attacks that who knows the detector tries besides, in the same threat and with the same access."""
    if attack.access < Access.GRADIENT:
        return ()
    made: tuple[Attack, ...] = (EvasiveCW(),)
    if not minimal(attack):
        pgd, apgd = OrthogonalPGD(projection="selective"), OrthogonalAPGD(projection="selective")
        made = (pgd, OrthogonalPGD(), apgd, OrthogonalAPGD())
    return tuple(one for one in made if suits(one, threat))
