"""A detector judged twice: by attackers who do not know of it, and by attackers who do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from holdfast.attacks import Attack
from holdfast.data import Pictures
from holdfast.detect import Fitted, described, threshold
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import provenance
from holdfast.evaluate.detection_measures import of_attack, of_clean
from holdfast.evaluate.judge import Judge, Judged
from holdfast.evaluate.judged_files import JudgedFiles
from holdfast.files import dump_json, write_atomically
from holdfast.threats import L2, AnyThreat, plain, whole_box

FILE, ARRAYS = "detect.json", "detect.safetensors"
FORMAT = 1
RATES = (0.01, 0.05)  # of false alarms, beside the detector's own

Progress = Callable[[int, int, str], None]
"""Called with (searches done, searches in all, what is being done)."""


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
    resume: bool = False,
    model: str = "",
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Detection:
    """Judge a detector by each attack, once unaware of it and once on classifier and detector at once.

    Args: `fitted` as `holdfast.detect.fit` or `load` gives it; `pictures` that neither classifier nor detector was
    fitted on; `attacks` of our own; `threat` for those that keep to a radius; `within` for those that look for the
    smallest change, L2 by default, of any size; `out` a folder for detect.json and detect.safetensors (suspicion and
    pictures), where each attack is kept as soon as it is judged, and `resume` goes on after those; `model` its name and
    `command` (its words) go on record.
    Who knows the detector attacks the guarded model with the same attack, then with those made for it (orthogonal PGD
    and Auto-PGD in both forms; evasive Carlini & Wagner), and keeps what passed the detector by chance before: so the
    second column is never better for the detector than the first.
    Raises: `DataError` where no attack finds an adversarial picture; `OptionError` for no attack, or one without a form
    for its threat; as `holdfast.attacks.run`.
    Cost: three searches a picture and attack that keeps to a radius, with four more for gradients where none before
    passed; two for others, with one more for gradients.
    Source: Carlini & Wagner 2017, arXiv:1705.07263 (judge by who knows it); Bryniarski et al. 2021, arXiv:2106.15023.
    """
    if not attacks:
        raise OptionError("no attack was given; allowed: one, or several in a list. For example PGD().")
    judge = Judge(fitted.model, pictures, threat, within or _anywhere(pictures), seed, batch)
    for attack in attacks:
        judge.check(attack)
    files = None if out is None else JudgedFiles(out, judge, fitted.detector)
    made = _judged(judge, attacks, files, resume, progress)
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
        "clean": of_clean(judge, limits),
        "attacks": [of_attack(judge, one, limits) for one in made],
        "seed": seed,
        "provenance": provenance.provenance(fitted.model, pictures, seed, command),
    }
    if out is not None:
        write_atomically(out / ARRAYS, arrays(judge, made))
        write_atomically(out / FILE, dump_json(record))
    if files is not None:
        files.drop()
    return Detection(tuple(made), judge.clean, record)


def _judged(
    judge: Judge, attacks: Sequence[Attack], files: JudgedFiles | None, resume: bool, progress: Progress | None
) -> list[Judged]:
    """Each attack, from its file if it was judged before. Raises: `DataError` where none finds anything."""
    made = []
    for number, attack in enumerate(attacks):
        tell = None if progress is None else lambda text, n=number: progress(n, len(attacks), text)
        one = files.get(number, attack) if files is not None and resume else None
        if one is None:
            one = judge.by(attack, tell)
            if files is not None:
                files.keep(number, one)
        made.append(one)
    if not any(bool(one.oblivious.success.any() | one.adaptive.success.any()) for one in made):
        raise DataError(
            f"no adversarial picture was found: {', '.join(one.name for one in attacks)} broke none of "
            f"{int(judge.right.sum())} pictures that the classifier gets right; allowed: attacks that break some. Give "
            "a larger eps, or more steps."
        )
    return made


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


def arrays(judge: Judge, made: Sequence[Judged], most: int = 24) -> bytes:
    """Suspicion of every picture, and some of those that slipped through, as one safetensors file's content."""
    from safetensors.torch import save as to_bytes

    tensors = {"clean": judge.clean, "place": judge.place, "label": judge.y.cpu()}
    for number, one in enumerate(made):
        for name, found in (("oblivious", one.oblivious), ("full", one.full), ("adaptive", one.adaptive)):
            if found is not None:
                tensors[f"{number}.{name}.suspicion"] = found.suspicion
                tensors[f"{number}.{name}.success"] = found.success
        rows = one.adaptive.success.nonzero().flatten()[:most]
        tensors[f"{number}.rows"] = rows
        tensors[f"{number}.prediction"] = one.adaptive.prediction[rows]
        tensors[f"{number}.size"] = one.adaptive.size[rows]
        tensors[f"{number}.x"] = judge.x.cpu()[rows]
        tensors[f"{number}.x_adv"] = one.adaptive.x_adv.cpu()[rows]
    content: bytes = to_bytes({name: value.contiguous() for name, value in tensors.items()})
    return content
