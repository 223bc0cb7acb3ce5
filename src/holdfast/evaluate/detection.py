"""A detector judged twice: by attackers who do not know of it, and by attackers who do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.access import Access
from holdfast.access.borrow import borrow, float_type, home
from holdfast.attacks import Aim, Attack, EvasiveCW, OrthogonalPGD, run, smallest
from holdfast.attacks.attack import guarded, minimal, suits
from holdfast.data import Pictures
from holdfast.detect import Fitted, described, suspicions, threshold
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import edges, provenance
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.verify import verify
from holdfast.files import dump_json, write_atomically
from holdfast.models.guarded import Guarded
from holdfast.options import to_plain
from holdfast.threats import L2, AnyThreat, plain, whole_box
from holdfast.uncertainty.separation import Estimate, separate

FILE, ARRAYS = "detect.json", "detect.safetensors"
FORMAT = 1
RATES = (0.01, 0.05)  # of false alarms, beside the detector's own

Progress = Callable[[int, int, str], None]
"""Called with (searches done, searches in all, what is being done)."""


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


@dataclass(frozen=True, eq=False)
class Detection:
    """A detector's worth. `plain` is what detect.json holds."""

    judged: tuple[Judged, ...]
    clean: Tensor  # (n,) suspicion of all clean pictures
    plain: Mapping[str, Any]


def detection(
    fitted: Fitted,
    pictures: Pictures,
    attacks: Sequence[Attack],
    threat: AnyThreat,
    *,
    within: AnyThreat | None = None,
    seed: int = 0,
    batch: int = 256,
    out: Path | None = None,
    model: str = "",
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Detection:
    """Judge a detector by each attack, once unaware of it and once on classifier and detector at once.

    Args: `fitted` as `holdfast.detect.fit` or `load` gives it; `pictures` that neither classifier nor detector was
    fitted on; `attacks` of our own; `threat` for those that keep to a radius; `within` for those that look for the
    smallest change, L2 by default, of any size; `out` a folder for detect.json and detect.safetensors (suspicion and
    pictures); `model` its name and `command` (its words) go on record.
    Who knows the detector attacks the guarded model with the same attack, then with those made for it (orthogonal PGD
    in both forms; evasive Carlini & Wagner), and keeps what passed the detector by chance before: so the second column
    is never better for the detector than the first.
    Raises: `DataError` where no attack finds an adversarial picture; `OptionError` for no attack, or one without a form
    for its threat; as `holdfast.attacks.run`.
    Cost: three searches a picture and attack that keeps to a radius, with two more kinds for gradients; two for others.
    Source: Carlini & Wagner 2017, arXiv:1705.07263 (judge by who knows it); Bryniarski et al. 2021, arXiv:2106.15023.
    """
    if not attacks:
        raise OptionError("no attack was given; allowed: one, or several in a list. For example PGD().")
    judge = Judge(fitted.model, pictures, threat, within or _anywhere(pictures), seed, batch)
    made = []
    for number, attack in enumerate(attacks):
        judge.check(attack)
        tell = None if progress is None else lambda text, n=number: progress(n, len(attacks), text)
        made.append(judge.by(attack, tell))
    if not any(bool(one.oblivious.success.any() | one.adaptive.success.any()) for one in made):
        raise DataError(
            f"no adversarial picture was found: {len(attacks)} attacks broke none of {int(judge.right.sum())} pictures "
            "that the classifier gets right; allowed: attacks that break some. Give a larger eps, or more steps."
        )
    limits = thresholds(fitted)
    record = {
        "format": FORMAT,
        "model": model,
        "detector": described(fitted.detector),
        "threshold": float(fitted.model.threshold),
        "false_alarms_wanted": fitted.threshold.false_alarms,
        "threshold_from": {"n": fitted.threshold.n, "misclassified": fitted.misclassified},
        "gradient": fitted.model.suspicion.gradient,
        "data": provenance.describe_data(pictures),
        "classes": list(pictures.classes),
        "threat": {**plain(threat), "eps": float(threat.eps)},
        "clean": judge.described(limits),
        "attacks": [judge.row(one, limits) for one in made],
        "seed": seed,
        "provenance": provenance.provenance(fitted.model, pictures, seed, command),
    }
    if out is not None:
        write_atomically(out / ARRAYS, judge.arrays(made))
        write_atomically(out / FILE, dump_json(record))
    return Detection(tuple(made), judge.clean, record)


def thresholds(fitted: Fitted) -> dict[str, float | None]:
    """The threshold at each rate of false alarms, the detector's own too; None for too few clean pictures."""
    found: dict[str, float | None] = {}
    for rate in sorted({*RATES, fitted.threshold.false_alarms}):
        try:
            found[f"{rate:g}"] = threshold(fitted.clean, rate).value
        except DataError:
            found[f"{rate:g}"] = None
    found[f"{fitted.threshold.false_alarms:g}"] = float(fitted.model.threshold)
    return found


def _anywhere(pictures: Pictures) -> AnyThreat:
    return L2(eps=whole_box(L2(eps=1.0), pictures.shape))


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
            passed = other.success & (other.suspicion.double() <= self.limit)
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

    def described(self, limits: Mapping[str, float | None]) -> dict[str, Any]:
        """Of clean pictures: right, refused, and right among those that are answered."""
        refused = self.clean.double() > self.limit
        answered = int((~refused).sum())
        return {
            "n": len(self.clean),
            "right": Rate(int(self.right.sum()), len(self.clean)).to_plain(),
            "false_alarms": Rate(int(refused.sum()), len(self.clean)).to_plain(),
            "false_alarms_at": {name: above(self.clean, limit) for name, limit in limits.items()},
            "answered_and_right": Rate(int((self.right & ~refused).sum()), len(self.clean)).to_plain(),
            "right_of_answered": Rate(int((self.right & ~refused).sum()), answered).to_plain() if answered else None,
        }

    def row(self, one: Judged, limits: Mapping[str, float | None]) -> dict[str, Any]:
        """One attack for JSON: both columns, and the guarded model's accuracy under the second."""
        broken = one.oblivious.success | one.adaptive.success
        evaded = one.adaptive.success
        refused = self.clean[self.right].double() > self.limit
        held = int((~refused & ~evaded).sum())
        return {
            "attack": one.attack.name,
            "options": to_plain(one.attack),
            "threat": {**plain(self.threat_of(one.attack)), "minimal": minimal(one.attack)},
            "access": one.attack.access.name.lower(),
            "oblivious": self.unaware(one.oblivious, limits),
            "full": None if one.full is None else self.unaware(one.full, limits),
            "adaptive": {
                "attacks": [one.attack.name, *(more.name for more in evasions(one.attack, self.threat_of(one.attack)))],
                "detected": Rate(int((broken & ~evaded).sum()), int(broken.sum())).to_plain() if broken.any() else None,
                "false_alarms": above(self.clean, self.limit),
                "median_size": median(one.adaptive.size[evaded]),
                "evaded": Rate(int(evaded.sum()), len(evaded)).to_plain(),
            },
            "robust": Rate(held, len(self.pictures)).to_plain(),
        }

    def unaware(self, found: Found, limits: Mapping[str, float | None]) -> dict[str, Any]:
        """The column of who does not know the detector."""
        suspicion = found.suspicion[found.success].double()
        flagged = int((suspicion > self.limit).sum())
        return {
            "succeeded": Rate(int(found.success.sum()), len(found.success)).to_plain(),
            "detected": Rate(flagged, len(suspicion)).to_plain() if len(suspicion) else None,
            "detected_at": {name: above(suspicion, limit) for name, limit in limits.items()},
            "false_alarms": above(self.clean, self.limit),
            "median_size": median(found.size[found.success]),
            "auroc": estimate(self.clean, suspicion, self.seed),
            "right_of_answered": self.right_of_answered(found),
        }

    def right_of_answered(self, found: Found) -> dict[str, Any] | None:
        """Of the attacked pictures that are not refused, those that the classifier gets right all the same."""
        answered = found.suspicion.double() <= self.limit
        right = (found.prediction == self.y.cpu()) & answered
        return Rate(int(right.sum()), int(answered.sum())).to_plain() if answered.any() else None

    def arrays(self, made: Sequence[Judged], most: int = 24) -> bytes:
        """Suspicion of every picture, and some of those that slipped through, as one safetensors file's content."""
        from safetensors.torch import save as to_bytes

        tensors = {"clean": self.clean, "place": self.place, "label": self.y.cpu()}
        for number, one in enumerate(made):
            for name, found in (("oblivious", one.oblivious), ("full", one.full), ("adaptive", one.adaptive)):
                if found is not None:
                    tensors[f"{number}.{name}.suspicion"] = found.suspicion
                    tensors[f"{number}.{name}.success"] = found.success
            rows = one.adaptive.success.nonzero().flatten()[:most]
            tensors[f"{number}.rows"] = rows
            tensors[f"{number}.prediction"] = one.adaptive.prediction[rows]
            tensors[f"{number}.size"] = one.adaptive.size[rows]
            tensors[f"{number}.x"] = self.x.cpu()[rows]
            tensors[f"{number}.x_adv"] = one.adaptive.x_adv.cpu()[rows]
        content: bytes = to_bytes({name: value.contiguous() for name, value in tensors.items()})
        return content


def evasions(attack: Attack, threat: AnyThreat) -> tuple[Attack, ...]:
    """The attacks that who knows the detector tries besides, in the same threat and with the same access."""
    if attack.access < Access.GRADIENT:
        return ()
    made: tuple[Attack, ...] = (EvasiveCW(),)
    if not minimal(attack):
        made = (OrthogonalPGD(projection="selective"), OrthogonalPGD())
    return tuple(one for one in made if suits(one, threat))


def above(suspicion: Tensor, limit: float | None) -> dict[str, Any] | None:
    """The share of values above a threshold; None without values or a threshold."""
    if limit is None or not len(suspicion):
        return None
    return Rate(int((suspicion.double() > limit).sum()), len(suspicion)).to_plain()


def median(sizes: Tensor) -> float | None:
    """The median, the mean of the two middle ones; None of none."""
    return float(sizes.double().quantile(0.5)) if len(sizes) else None


def estimate(clean: Tensor, suspicion: Tensor, seed: int) -> dict[str, float] | None:
    """AUROC of adversarial against clean pictures, with its interval; None where there are fewer than two."""
    if len(suspicion) < 2 or len(clean) < 2:
        return None
    found: Estimate = separate(clean.double().numpy(), suspicion.double().numpy(), seed=seed).auroc
    return {"value": found.value, "low": found.low, "high": found.high}
