"""Attacks on a detector that are judged already, as files, so that a run that was interrupted goes on after them."""

import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from holdfast.attacks import Attack
from holdfast.detect import Detector, described
from holdfast.evaluate import provenance
from holdfast.evaluate.judge import Found, Judge, Judged
from holdfast.files import dump_json, sha256, write_atomically
from holdfast.options import to_plain
from holdfast.threats import plain

FOLDER = "judged"  # inside the run, until it is finished
ROUNDING = 0.005  # of suspicion, absolute and relative: other batches and numbers of threads add up in another order
COLUMNS = ("oblivious", "full", "adaptive")


class JudgedFiles:
    """The files of one run: what another model, detector, threat, seed or device found is not taken for this run's.

    Weights do not tell code apart: so what the detector says of the clean pictures must be the same too, but for
    rounding, and the pictures that the classifier gets right, which alone are attacked.
    """

    def __init__(self, run: Path, judge: Judge, detector: Detector) -> None:
        self.folder = run / FOLDER
        self.device, self.clean = judge.x.device, judge.clean
        origin = provenance.provenance(judge.model, judge.pictures, judge.seed, ())
        self.same: Mapping[str, Any] = {
            **{name: origin[name] for name in provenance.MUST_AGREE},
            "detector": described(detector),
            "threat": plain(judge.threat),
            "within": plain(judge.within),
            "seed": judge.seed,
            "right": judge.right.tolist(),
        }

    def get(self, number: int, attack: Attack) -> Judged | None:
        """What this attack found before; None where it was not finished, or not for such a run."""
        from safetensors import SafetensorError, safe_open

        path = self._path(number)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("of") != self._of(attack):
                    return None
                found = {name: file.get_tensor(name) for name in list(file.keys())}
        except SafetensorError:
            return None
        if not torch.allclose(found["clean"], self.clean, rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
            return None
        return Judged(attack, *(self._column(name, found) for name in COLUMNS))

    def keep(self, number: int, one: Judged) -> None:
        """Write what an attack found, whole or not at all."""
        from safetensors.torch import save

        values: dict[str, torch.Tensor] = {"clean": self.clean}
        for name in COLUMNS:
            column = getattr(one, name)
            if column is not None:
                values |= {f"{name}.{entry.name}": getattr(column, entry.name) for entry in fields(Found)}
        content = save({name: value.cpu().contiguous() for name, value in values.items()}, {"of": self._of(one.attack)})
        write_atomically(self._path(number), content)

    def drop(self) -> None:
        """Delete them: the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def _of(self, attack: Attack) -> str:
        return sha256(dump_json({**self.same, "attack": [attack.name, to_plain(attack)]}))

    def _column(self, name: str, found: Mapping[str, torch.Tensor]) -> Any:
        if f"{name}.success" not in found:
            return None
        values = {entry.name: found[f"{name}.{entry.name}"] for entry in fields(Found)}
        return Found(**{**values, "x_adv": values["x_adv"].to(self.device)})
