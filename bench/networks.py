"""The networks the benchmark runs on, trained once and kept."""

from pathlib import Path
from typing import Any

from torch import nn

from holdfast import PGD, Linf, data, models
from holdfast.train import TrainOptions, card_for, train

EPS = 0.1
EPS_CIFAR = 8 / 255


def network(name: str, training: data.Pictures, folder: Path) -> nn.Module:
    """`mlp`, `cnn`, `cnn-hardened` or `resnet8-hardened`, trained for five epochs, from `folder` if it is there.

    Hardened by adversarial training: the cnn by PGD with 5 steps at Linf 0.1, the ResNet-8, meant for CIFAR-10, by one
    step from a random start at 8/255 (Wong, Rice & Kolter 2020, arXiv:2001.03994).
    """
    out = folder / f"{name}-{training.name}-{len(training)}"
    if (out / "card.json").exists():
        return models.load(out)[0].eval()
    card = card_for(name.removesuffix("-hardened"), training)
    adversary = ADVERSARIES.get(name, {})
    return train(card, training, options=TrainOptions(epochs=5), out=out, resume=True, **adversary).model.eval()


ADVERSARIES: dict[str, dict[str, Any]] = {
    "cnn-hardened": {"threat": Linf(eps=EPS), "attack": PGD(steps=5, step_size=0.4)},
    "resnet8-hardened": {"threat": Linf(eps=EPS_CIFAR), "attack": PGD(steps=1, step_size=1.25)},
}
