"""`python -m bench.universal`: one change for all pictures, ours beside ART's, fitted on some and shown to others.

Each is fitted on the first pictures of the training split and shown to the first of the test split; a picture is fooled
when the network takes it for another class than before. ART's is the form of Moosavi-Dezfooli et al. 2017 around its
DeepFool, with as many steps a picture as ours takes and as many passes over the pictures; its defaults else. Random
signs at the full radius, the best of ten on the pictures of the fit, are what any fit must beat.

Fashion-MNIST. CPU time of one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import peers
from bench.minimal import conditions, show_peers
from bench.networks import network
from holdfast import data
from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.extract import Fit, Fitted, Universal, UniversalDeepFool, fit, fooled
from holdfast.extract.shared_change import brought_inside
from holdfast.generators import all_seeded
from holdfast.threats import L2, Linf, Threat
from holdfast.train.history import Count

NETWORKS = ("mlp", "cnn", "cnn-hardened")
THREATS: tuple[Threat, ...] = (Linf(eps=0.1), L2(eps=2.0))
OF_ART = {"linf": "inf", "l2": 2}
STEPS, EPOCHS = 10, 5
Make = Callable[[nn.Module, Pictures, Threat], Fitted]
"""A network, pictures and a threat to a change."""


def main() -> int:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None, help="where the data sets lie; else HOLDFAST_DATA")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/universal.json"))
    parser.add_argument("--only", choices=NETWORKS, nargs="+", default=list(NETWORKS), help="networks")
    parser.add_argument("--pictures", type=int, default=200, help="that a change is fitted on")
    parser.add_argument("--shown", type=int, default=500, help="other pictures that it is shown to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions, missing = peers.load()
    show_peers(versions, missing)
    training = data.load("fashion-mnist", "train", data_dir=options.data_dir)
    some = training.take(slice(0, options.pictures))
    others = data.load("fashion-mnist", "test", data_dir=options.data_dir, limit=options.shown)
    makes: dict[str, Make] = {
        "best of ten random signs": random_signs,
        "holdfast universal": by_ours(Universal(pictures=options.pictures)),
        "holdfast universal-deepfool": by_ours(
            UniversalDeepFool(pictures=options.pictures, epochs=EPOCHS, steps=STEPS, enough=1.0)
        ),
    }
    if "art" in versions:
        makes["art UniversalPerturbation"] = by_art
    rows = []
    for name in options.only:
        model = network(name, training, options.folder)
        for threat in THREATS:
            for made, make in makes.items():
                rows.append(measured(name, threat, made, make, model, some, others))
                show(rows[-1])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    told = conditions(options, versions, missing, options.pictures, "bench.universal")
    told["pictures"] = (
        f"fitted on the first {options.pictures} of the training split, shown to {options.shown} of the test"
    )
    options.out.write_text(json.dumps({"conditions": told, "rows": rows}, indent=1, allow_nan=False) + "\n")
    print(f"\nwritten to {options.out}")
    return 0


def measured(
    name: str, threat: Threat, made: str, make: Make, model: nn.Module, some: Pictures, others: Pictures
) -> dict[str, Any]:
    """How many pictures are fooled, and what the fit took."""
    begun = time.process_time()
    change = make(model, some, threat)
    seconds = time.process_time() - begun
    size = float(threat.size(change.delta[None].double()))
    return {
        "network": name,
        "threat": threat.name,
        "eps": float(threat.eps),
        "made_by": made,
        "size": size,
        "fitted": fooled(model, change, some).plain(),
        "held_out": fooled(model, change, others).plain(),
        "cpu_seconds": round(seconds, 2),
    }


def by_ours(by: Fit) -> Make:
    """One of ours."""
    return lambda model, some, threat: fit(by, model, some, threat)


def by_art(model: nn.Module, some: Pictures, threat: Threat) -> Fitted:
    """ART's, whose change is cut to the radius if it lies outside."""
    import numpy as np
    from art.attacks.evasion import UniversalPerturbation
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model, loss=nn.CrossEntropyLoss(), input_shape=some.shape, nb_classes=len(some.classes), clip_values=(0.0, 1.0)
    )
    attack = UniversalPerturbation(
        classifier,
        attacker="deepfool",
        attacker_params={"max_iter": STEPS, "verbose": False},
        delta=0.0,
        max_iter=EPOCHS,
        eps=float(threat.eps),
        norm=np.inf if OF_ART[threat.name] == "inf" else 2,
        verbose=False,
    )
    with all_seeded(0, "universal", some.place, torch.device("cpu")):  # it draws the order of the pictures
        attack.generate(some.x().numpy())
    delta = torch.as_tensor(np.asarray(attack.noise), dtype=torch.float32).view(1, *some.shape)
    return of(brought_inside(delta, threat)[0], threat)


def random_signs(model: nn.Module, some: Pictures, threat: Threat) -> Fitted:
    """The best of ten."""
    signs = Draws(0, torch.arange(10)).signs(torch.zeros(10, *some.shape))
    changes = [of(brought_inside(1e3 * one[None], threat)[0], threat) for one in signs]
    return max(changes, key=lambda change: fooled(model, change, some).k)


def of(delta: Tensor, threat: Threat) -> Fitted:
    """A change that somebody else made."""
    return Fitted(delta, threat, None, Count(0, 1), (), 0, 0)


def show(row: dict[str, Any]) -> None:
    """One line."""
    fitted, held = row["fitted"], row["held_out"]
    print(
        f"  {row['network']:14}{row['threat']:>5} {row['eps']:<5g}{row['made_by']:30}size {row['size']:<8.4g}"
        f"fitted {fitted['k']:>4}/{fitted['n']:<5}{100 * fitted['k'] / fitted['n']:>5.1f} %   "
        f"held out {held['k']:>4}/{held['n']:<5}{100 * held['k'] / held['n']:>5.1f} %{row['cpu_seconds']:>8.1f} CPU s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
