"""Where a number comes from: what was asked for, of which model, on which pictures, with which versions."""

import platform
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import nn

from holdfast.access.borrow import Model, home
from holdfast.attacks import External
from holdfast.data import Pictures
from holdfast.files import dotted
from holdfast.models.guarded import refused_class
from holdfast.options import to_plain

FORMAT = 1
# What a resumed or merged run must share with its beginning; the rest of the provenance is told, not compared.
MUST_AGREE = ("holdfast", "torch", "device", "weights_sha256", "data_sha256")
# Words of a command line that differ between runs of the same numbers, with how many values follow them.
PASSING = {
    "--out": 1,
    "-o": 1,
    "--shard": 1,
    "--at-least": 1,
    "--junit": 1,
    "--resume": 0,
    "--json": 0,
    "--quiet": 0,
    "-q": 0,
    "--report": 0,
    "--no-report": 0,
}

Run = dict[str, Any]
"""run.json: `format`, `options`, `model`, `data`, `provenance`, `choices`."""


def describe_model(
    model: Model, name: str | None, card: Mapping[str, Any] | None, answers: list[list[float]] | None
) -> dict[str, Any]:
    """The model's entry in run.json; `answers` to a few pictures, by which a run is not resumed with another model."""
    refused = refused_class(model)
    return {
        "name": name or type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else 0,
        "card": dict(card) if card else None,
        "answers": answers,
        **({} if refused is None else {"refused": refused}),  # the number of that class
    }


def mark_of(model: Model) -> str:
    """What tells a second model from others: its kind, and the hash of its weights where it has any."""
    from holdfast.models import weights_sha256

    weights = f" {weights_sha256(model)[:16]}" if isinstance(model, nn.Module) else ""
    return type(model).__name__ + weights


def describe_data(pictures: Pictures) -> dict[str, Any]:
    """The data's entry in run.json."""
    return {
        "name": pictures.name,
        "split": pictures.split,
        "n": len(pictures),
        "classes": list(pictures.classes),
        "shape": list(pictures.shape),
        "skipped": list(pictures.skipped),
        "notes": list(pictures.notes),
    }


def describe_attack(attacks: Sequence[Any]) -> dict[str, Any]:
    """One attack: its name and options. Several in a row: their names joined, name and options of each in a list."""
    names = [attack.name for attack in attacks]
    options = [attack.described() if isinstance(attack, External) else to_plain(attack) for attack in attacks]
    return {
        "name": "+".join(names),
        "options": options[0] if len(options) == 1 else [{"name": n, **o} for n, o in zip(names, options, strict=True)],
        "repr": ", ".join(map(repr, attacks)),
    }


def listed_attacks(run: Run) -> list[dict[str, Any]]:
    """The attacks of a run in their order, each with its `name`."""
    attack = run["options"]["attack"]
    return list(attack["options"]) if isinstance(attack["options"], list) else [attack]


def averaged_over(run: Run) -> int:
    """How many answers the run's attacks average each question over: 1, or the samples of `holdfast.attacks.EoT`."""
    options = run.get("options", {}).get("attack", {}).get("options", {})
    listed = options if isinstance(options, list) else [options]
    return max(_samples(entry) for entry in listed)


def _samples(entry: Mapping[str, Any]) -> int:
    inside = entry.get("attack")
    return max(int(entry.get("samples", 1)), _samples(inside)) if isinstance(inside, Mapping) else 1


def attack_names(run: Run) -> list[str]:
    """The attacks of a run in their order, told apart by a number where two have one name."""
    names = [str(entry["name"]) for entry in listed_attacks(run)]
    return [f"{n} ({names[: i + 1].count(n)})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def provenance(model: Model, pictures: Pictures, seed: int, command: Sequence[str]) -> dict[str, Any]:
    """Versions, device, seed, hashes, and the command that makes the same numbers again."""
    from holdfast.models import weights_sha256

    return {
        "holdfast": version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(model, pictures),
        "threads": torch.get_num_threads(),
        "seed": seed,
        "command": list(repeatable(command)),
        "weights_sha256": weights_sha256(model) if isinstance(model, nn.Module) else None,
        "data_sha256": pictures.sha256(),
    }


def repeatable(command: Sequence[str]) -> list[str]:
    """A command line without what says where the run goes on or ends up, so that equal runs have equal ones.

    >>> repeatable(["holdfast", "evaluate", "--seed", "1", "--out", "runs/a", "--resume"])
    ['holdfast', 'evaluate', '--seed', '1']
    """
    kept: list[str] = []
    skip = 0
    for word in command:
        name, _, value = word.partition("=")
        if skip:
            skip -= 1
        elif name in PASSING:
            skip = 0 if value else PASSING[name]
        else:
            kept.append(word)
    return kept


def differences(was: Run, now: Run, ignore: Sequence[str] = ()) -> list[str]:
    """What two runs do not share of all that decides their numbers, each as "threat.eps was 0.1, now 0.2"."""
    old, new = _comparable(was), _comparable(now)
    names = sorted(name for name in {**old, **new} if not any(f"{name}.".startswith(f"{i}.") for i in ignore))
    changed = [f"{n} was {_shown(old.get(n))}, now {_shown(new.get(n))}" for n in names if old.get(n) != new.get(n)]
    return changed or _other_model(was, now)


def _shown(value: Any) -> str:
    """A value as text; of a long one, such as a mask, its beginning."""
    return text if len(text := repr(value)) <= 200 else f"{text[:197]}..."


def _other_model(was: Run, now: Run) -> list[str]:
    """Whether the models of two runs answer the same pictures differently; weights alone do not tell code apart."""
    before, after = (torch.tensor((run.get("model") or {}).get("answers") or []) for run in (was, now))
    coarse = any("cuda" in str(run.get("provenance", {}).get("device")) for run in (was, now))
    if before.shape != after.shape or torch.allclose(before, after, rtol=0.05 if coarse else 0.005, atol=1e-6):
        return []
    row = int((before - after).abs().amax(1).argmax())
    told = f"{before[row, 0]:.4g}, now {after[row, 0]:.4g}"
    return [f"the model is another one: the largest logit of picture {row} was {told}"]


def _comparable(run: Run) -> dict[str, Any]:
    origin = run.get("provenance", {})
    whole = {
        **run.get("options", {}),
        "data": run.get("data"),
        "model": (run.get("model") or {}).get("name"),
        "choices": run.get("choices"),
        **{name: origin.get(name) for name in MUST_AGREE},
    }
    return dotted(whole)


def version() -> str:
    """Of holdfast itself."""
    # By name, since the package's front door imports this room's neighbours above.
    return str(import_module("holdfast").__version__)


def _device(model: Model, pictures: Pictures) -> str:
    device = home(model, pictures.images)
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
