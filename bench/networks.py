"""The networks the benchmark runs on, trained once and kept."""

from pathlib import Path

from torch import nn

from holdfast import PGD, Linf, data, models
from holdfast.train import TrainOptions, card_for, train

EPS = 0.1


def network(name: str, training: data.Pictures, folder: Path) -> nn.Module:
    """`mlp`, `cnn` or `cnn-hardened` (PGD with 5 steps, Linf 0.1), five epochs each, from `folder` if it is there."""
    out = folder / f"{name}-{training.name}-{len(training)}"
    if (out / "card.json").exists():
        return models.load(out)[0].eval()
    hardened = name.endswith("-hardened")
    card = card_for(name.removesuffix("-hardened"), training)
    adversary = {"threat": Linf(eps=EPS), "attack": PGD(steps=5, step_size=0.4)} if hardened else {}
    return train(card, training, options=TrainOptions(epochs=5), out=out, resume=True, **adversary).model.eval()
