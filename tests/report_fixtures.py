"""Write a run folder as the documented format has it, from seeded numbers: no model, no attack."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.stats import beta

CHECKS = (
    ("box", "Pictures stay inside the box", "pass", "All values lie in [0, 1].", ""),
    ("random", "The model answers the same twice", "pass", "Two passes differ by 0 logits.", ""),
    ("gradients", "Gradients are there", "pass", "No picture has a zero or non-finite gradient.", ""),
    ("large_eps", "A large enough radius reaches 0 %", "pass", "At 0.5, 0 of 32 pictures are left.", ""),
    (
        "monotone",
        "Accuracy falls with the radius",
        "pass",
        "No radius has more robust pictures than a smaller one.",
        "",
    ),
    ("steps", "More steps do not help much", "warn", "80 steps break 2 of 64 pictures more than 40.", "Use steps=80."),
    ("noise", "The gradient attack beats noise", "pass", "Noise breaks 3 of 64 pictures, the attack 51.", ""),
    ("probabilities", "Outputs are logits", "skipped", "The model gives a single output.", "Give logits."),
)


@dataclass(frozen=True)
class Fake:
    """What the run looks like; the defaults are a believable run that lost much."""

    n: int = 60
    classes: tuple[str, ...] = ("zero", "one", "two", "three", "four")
    shape: tuple[int, int, int] = (1, 8, 8)
    eps: tuple[float, ...] = (2 / 255, 4 / 255, 8 / 255)
    eps_text: tuple[str, ...] = ("2/255", "4/255", "8/255")
    threat: str = "linf"
    wrong: float = 0.1  # share wrong from the start
    strength: float = 4 / 255  # a typical radius that breaks a picture
    seed: int = 0
    shard: int = 25
    float_x: bool = False
    believe: bool = True
    model: str = "cnn"
    data: str = "synthetic"
    attack_steps: int = 40
    skipped: tuple[str, ...] = ()
    reverse: bool = False  # shards hold the pictures from the last to the first
    images: np.ndarray | None = None  # uint8 (n, C, H, W) instead of stripes
    labels: np.ndarray | None = None

    def but(self, **changes) -> "Fake":
        return replace(self, **changes)


def rate(k: int, n: int) -> dict:
    low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
    return {"k": int(k), "n": int(n), "rate": int(k) / int(n), "low": low, "high": high}


def stripes(label: np.ndarray, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth seeded stripes whose frequency follows the label."""
    channels, height, width = shape
    rows, cols = np.mgrid[0:height, 0:width] / max(height, width)
    phase = rng.uniform(0, 6, (len(label), channels))[..., None, None]
    wave = np.sin((label[:, None, None, None] + 2) * (rows + 0.6 * cols)[None, None] * 3 + phase)
    return np.clip(127.5 + 100 * wave + rng.normal(0, 6, wave.shape), 0, 255).astype(np.uint8)


def records(fake: Fake) -> dict[str, np.ndarray]:
    """All columns and tables of a run, before they are cut into shards."""
    rng = np.random.default_rng(fake.seed)
    n, k, radii = fake.n, len(fake.classes), np.array(fake.eps)
    pictures = np.random.default_rng(1000 + fake.n)  # the same pictures for every seed
    label = pictures.integers(0, k, n) if fake.labels is None else fake.labels
    images = stripes(label, fake.shape, pictures) if fake.images is None else fake.images
    other = (label + rng.choice([1, 1, 1, 2, 3], n)) % k
    prediction = np.where(rng.random(n) < fake.wrong, other, label)
    right = prediction == label
    limit = fake.strength * np.exp(0.6 * rng.normal(size=n)) * (1 + (label % 3))
    success = right & (limit <= radii[:, None])
    if len(radii) > 1:  # one picture breaks at a small radius and is missed at the next
        for place in np.flatnonzero(success[0])[:1]:
            success[1, place] = False
    broken = np.maximum.accumulate(success, axis=0) | ~right
    steps = np.minimum((fake.attack_steps * rng.beta(1.2, 5, success.shape)).astype(np.int64), fake.attack_steps)
    return {
        "index": np.arange(n, dtype=np.int64)[:: -1 if fake.reverse else 1],
        "label": label.astype(np.int64),
        "prediction": prediction.astype(np.int64),
        "confidence": rng.uniform(0.5, 1, n).astype(np.float32),
        "x": images.astype(np.float32) / 255 if fake.float_x else images,
        "prediction_adv": np.where(success, (label + 1) % k, prediction).astype(np.int64),
        "confidence_adv": rng.uniform(0.4, 0.95, success.shape).astype(np.float32),
        "success": success | ~right,  # a picture wrong from the start is wrong as it is returned
        "broken": broken,
        "success_8bit": ~right | success & (rng.random(success.shape) < 0.97),
        "size": np.where(success, np.minimum(radii[:, None], limit * 1.2), 0.0),
        "step": np.where(success, steps, -1),
        "forward": np.where(success, steps + 1, np.where(right, fake.attack_steps + 1, 1)).astype(np.int64),
        "backward": np.where(success, steps, np.where(right, fake.attack_steps, 0)).astype(np.int64),
    }


def adversarial(whole: dict[str, np.ndarray], eps: int, radius: float, rows: np.ndarray) -> np.ndarray:
    x = whole["x"][rows]
    x = x.astype(np.float32) / 255 if x.dtype == np.uint8 else x
    sign = np.random.default_rng(eps).choice([-1, 1], (1, *x.shape[1:])).astype(np.float32)
    return np.clip(x + np.float32(radius) * sign, 0, 1).astype(np.float32)


def summary(fake: Fake, whole: dict[str, np.ndarray]) -> dict:
    n, k = fake.n, len(fake.classes)
    label, prediction = whole["label"], whole["prediction"]
    right = prediction == label
    robust = right & ~whole["broken"]
    curve = []
    for e, radius in enumerate(fake.eps):
        own = whole["success"][e] & right
        sizes = whole["size"][e][own]
        q25, median, q75 = np.quantile(sizes, [0.25, 0.5, 0.75]) if len(sizes) else (0, 0, 0)
        curve.append({
            "eps": radius,
            "eps_text": fake.eps_text[e],
            "robust": rate(robust[e].sum(), n),
            "own": rate((right & ~own).sum(), n),
            "robust_8bit": rate((right & ~whole["success_8bit"][: e + 1].any(0)).sum(), n),
            "size": {"median": float(median), "q25": float(q25), "q75": float(q75)} if len(sizes) else None,
        })  # fmt: skip
    after = np.where(right & whole["broken"][-1], (label + 1) % k, prediction)
    tables = []
    for said in (prediction, after):
        table = np.zeros((k, k), dtype=int)
        np.add.at(table, (label, said), 1)
        tables.append(table.tolist())
    forward, backward = int(whole["forward"].sum()), int(whole["backward"].sum())
    checks = [dict(zip(("name", "title", "verdict", "evidence", "advice"), check)) for check in CHECKS]
    if not fake.believe:
        checks[2] |= {
            "verdict": "fail",
            "evidence": "31 of 64 pictures have a gradient of exactly zero.",
            "advice": "Look for a rounding, an argmax or a saturated softmax inside the model.",
        }
    because = (
        "none of 7 checks failed; 1 warned (steps)"
        if fake.believe
        else "1 of 7 checks failed: gradients: 31 of 64 pictures have a gradient of exactly zero"
    )
    return {
        "format": 1,
        "data": {"name": fake.data, "split": "test", "n": n, "classes": list(fake.classes), "shape": list(fake.shape)},
        "model": {"name": fake.model, "parameters": 41_234, "card": {"architecture": "cnn", "training": {"epochs": 5}}},
        "attack": {
            "name": "pgd",
            "options": {"steps": fake.attack_steps, "step_size": 0.1},
            "repr": f"PGD(steps={fake.attack_steps}, step_size=0.1, random_start=True, restarts=1)",
        },
        "threat": {"name": fake.threat, "eps": list(fake.eps), "eps_text": list(fake.eps_text), "low": 0, "high": 1},
        "seed": 0,
        "clean": rate(right.sum(), n),
        "robust": rate(robust[-1].sum(), n),
        "curve": curve,
        "per_class": [
            {"class": name, "n": int((label == c).sum()), "clean": int(right[label == c].sum()),
             "robust": int(robust[-1][label == c].sum())}
            for c, name in enumerate(fake.classes)
        ],
        "confusion": {"before": tables[0], "after": tables[1]},
        "passes": {"forward": forward, "backward": backward, "forward_per_picture": forward / n,
                   "backward_per_picture": backward / n, "verify_forward": 3 * n * len(fake.eps)},
        "check_passes": {"forward": 8192, "backward": 2560},
        "checks": checks,
        "believe": {"verdict": fake.believe, "because": because},
    }  # fmt: skip


def write_run(folder: Path, fake: Fake | None = None) -> Path:
    """Write all files of a finished run into `folder` and return it."""
    fake = fake or Fake()
    whole = records(fake)
    shards = folder / "shards"
    shards.mkdir(parents=True)
    for number, start in enumerate(range(0, fake.n, fake.shard)):
        rows = slice(start, start + fake.shard)
        part = {name: np.ascontiguousarray(v[rows] if v.ndim != 2 else v[:, rows]) for name, v in whole.items()}
        for e, radius in enumerate(fake.eps):
            found = np.flatnonzero(part["success"][e] & (part["prediction"] == part["label"]))
            part[f"adv.{e}.rows"] = found.astype(np.int64)
            part[f"adv.{e}.x"] = adversarial(part, e, radius, found)
        save_file(part, shards / f"{number:05}.safetensors")
    told = summary(fake, whole)
    origin = {
        "format": 1,
        "options": {"attack": told["attack"], "threat": told["threat"], "seed": 0, "shard": None, "checks": True},
        "model": told["model"],
        "data": {**told["data"], "skipped": list(fake.skipped), "notes": []},
        "provenance": {
            "holdfast": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "platform": "Linux-6.1 x86_64",
            "device": "cpu", "seed": 0, "weights_sha256": f"{fake.seed:064x}", "data_sha256": f"{fake.n:064x}",
            "command": f"holdfast evaluate --model {fake.model} --data {fake.data} --threat {fake.threat} "
            f"--eps {','.join(fake.eps_text)} --attack pgd --set steps={fake.attack_steps}".split(),
        },
        "choices": {"batch": 256},
    }  # fmt: skip
    timing = {
        "seconds": 12.5,
        "pictures_per_second": fake.n / 12.5,
        "starts": [{"command": ["holdfast"], "resumed": False}],
    }
    for name, value in {"summary": told, "run": origin, "timing": timing, "checks": told["checks"]}.items():
        (folder / f"{name}.json").write_text(json.dumps(value, indent=2, sort_keys=True))
    with (folder / "records.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["index", "label", "prediction"])
    return folder
