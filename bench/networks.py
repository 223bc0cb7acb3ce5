"""The networks the benchmark runs on, trained once and kept."""

from pathlib import Path

from torch import nn

from holdfast import PGD, Linf, data, models
from holdfast.train import Adversary, Recipe, TrainOptions, card_for, train

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
    recipe = Recipe(options=TrainOptions(epochs=5), adversary=ADVERSARIES.get(name))
    return train(card, training, recipe=recipe, out=out, resume=True).model.eval()


ADVERSARIES = {
    "cnn-hardened": Adversary(PGD(steps=5, step_size=0.4), Linf(eps=EPS)),
    "resnet8-hardened": Adversary(PGD(steps=1, step_size=1.25), Linf(eps=EPS_CIFAR)),
}
