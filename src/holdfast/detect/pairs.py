"""Clean pictures, each with what an attack makes of it: what a detector that learns from attacks is shown."""

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access import Access
from holdfast.access.borrow import borrow, float_type, home
from holdfast.attacks import Aim, Attack, run, smallest
from holdfast.attacks.attack import minimal
from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.errors import DataError
from holdfast.models.guarded import Guarded, Suspicion
from holdfast.threats import Threat


@dataclass(frozen=True)
class Attacker:
    """An attack within a threat. One that is `minimal` heeds no radius: its smallest change within the box counts."""

    attack: Attack
    threat: Threat
    aim: Aim
    batch: int  # the most pictures in a call of the model

    def points(self, model: nn.Module, clean: Pictures, seed: int) -> Tensor:
        """What the attack makes of pictures, (N, C, H, W) on the CPU; noise goes by their places."""
        x = clean.x(dtype=float_type(model))
        among: dict[str, Any] = {"seed": seed, "batch": self.batch, "picture": clean.place}
        if minimal(self.attack):
            return smallest(self.attack, model, x, clean.labels, self.threat, **among).x_adv
        aim: Aim = self.aim if self.attack.access >= Access.SCORES else "first_success"  # labels alone rank nothing
        return run(self.attack, model, x, clean.labels, self.threat, aim=aim, **among).x_adv


@dataclass(frozen=True, eq=False)
class Pairs:
    """N clean pictures that the classifier gets right, and adversarial forms of the same ones, that it gets wrong."""

    clean: Pictures
    adversarial: Tensor  # (N, C, H, W), on the CPU
    classes: int  # of the classifier
    misclassified: int  # pictures left out, as the classifier got them wrong before any attack
    unbroken: int  # left out, as the attack did not break them


def pairs(attacker: Attacker, model: nn.Module, pictures: Pictures, *, seed: int) -> Pairs:
    """Attack the classifier on every picture that it gets right, and keep those where it succeeds.

    Raises: `DataError` where the classifier gets no picture right, or the attack breaks none.
    Cost: the attack's passes, and two forward passes a picture. Memory: a float picture for each that was attacked.
    """
    logits = answers(model, pictures.x(), attacker.batch)
    clean = pictures.take(logits.argmax(1) == pictures.labels)
    if not len(clean):
        raise DataError(
            f"the classifier gets none of {len(pictures)} pictures right, so that there is nothing to attack; allowed: "
            "one or more. Take pictures of the set that it was trained on, or train it."
        )
    adversarial = attacker.points(model, clean, seed)
    broken = answers(model, adversarial, attacker.batch).argmax(1) != clean.labels
    if not bool(broken.any()):
        threat = attacker.threat
        raise DataError(
            f"no adversarial pictures found: {attacker.attack.name} within {threat.name} eps={float(threat.eps):g} "
            f"breaks none of the {len(clean)} pictures that the classifier gets right; allowed: one or more. Give a "
            "larger eps, or a stronger attack."
        )
    rest = len(pictures) - len(clean), len(clean) - int(broken.sum())
    return Pairs(clean.take(broken), adversarial[broken], logits.shape[1], *rest)


def renewed(
    found: Pairs, attacker: Attacker, model: nn.Module, suspicion: Suspicion, *, seed: int, epoch: int
) -> Tensor:
    """The adversarial pictures (N, C, H, W) of an epoch, from an attacker who knows the detector as it is then.

    Half of the pictures, others in each epoch, are attacked through a `Guarded` model with threshold 0, where a success
    is misclassified and not suspicious; the rest through the classifier alone, with fresh noise. What does not break
    the classifier gives way to what first broke it, so that there are as many of both kinds in each epoch.
    Cost: the attack's passes, and one forward pass a picture.
    """
    guarded = Guarded(model, suspicion, 0.0, 1.0, found.classes)
    coins = Draws(seed, found.clean.place, attack=zlib.crc32(b"whom")).at(epoch)
    knows = coins.uniform(torch.empty(len(found.clean), 1, dtype=torch.float64))[:, 0] < 0.5
    fresh = found.adversarial.clone()
    for rows, attacked in ((knows, guarded), (~knows, model)):
        if bool(rows.any()):
            own = zlib.crc32(f"{seed} epoch {epoch}".encode())
            fresh[rows] = attacker.points(attacked, found.clean.take(rows), own)
    broken = answers(model, fresh, attacker.batch).argmax(1) != found.clean.labels
    return torch.where(broken.view(-1, 1, 1, 1), fresh, found.adversarial)


def answers(model: nn.Module, x: Tensor, batch: int) -> Tensor:
    """The model's logits (N, K) of pictures, on the CPU. Cost: one forward pass a picture."""
    device, dtype = home(model, x), float_type(model)
    with torch.no_grad(), borrow(model):
        return torch.cat([model(part.to(device, dtype)).cpu() for part in x.split(batch)])
