"""A second classifier that tells adversarial pictures from clean ones."""

import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast import attacks, models, threats
from holdfast.access.borrow import borrow, float_type, home
from holdfast.attacks.external import check_norm
from holdfast.data import Pictures
from holdfast.detect.branch import find, folded, head, listen
from holdfast.detect.interface import Progress
from holdfast.detect.pairs import Attacker, Pairs, pairs, renewed
from holdfast.draws import Draws
from holdfast.errors import ModelError
from holdfast.generators import seeded
from holdfast.models.guarded import Suspicion
from holdfast.options import one_of, option, refused

FEW_STEPS = {"steps": 10, "step_size": 0.25}  # of pgd, where nothing is said of it
CHANNELS, NETWORK = 16, "cnn"  # where nothing is said of them
ONLY = {"layer": "branched", "channels": "branched", "network": "separate", "width": "separate"}  # what else has no use


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """A network that learns a balanced problem of two classes: N clean pictures, labelled -1, against N adversarial
    forms of the same ones, labelled 1. The suspicion is its logit for adversarial less that for clean.

    It is a network of its own (`separate`), or a head on what an inner layer of the classifier says in the classifier's
    own pass (`branched`); the classifier stays as it is. Pictures that the classifier gets wrong, or that the attack
    does not break, are left out and counted (`misclassified`, `unbroken` of the suspicion).
    Adversarial pictures are made once on the classifier (`static`), or anew in each epoch (`dynamic`), half of them
    by an attacker who is out to deceive the detector of that moment too (see `renewed`).
    Cost: of fitting, the attack's passes, in `dynamic` once an epoch, and for a branch two forward passes of the
    classifier an epoch and picture; in use one forward pass of the classifier and one of the network or head.
    Memory: a float picture for each that is attacked.
    Source: branch, static and dynamic: Metzen et al. 2017, arXiv:1702.04267, sec. 3; theirs climbs a mixture of the
    signs of both gradients with a share drawn at random, where ours climbs the classifier's loss alone or that of the
    guarded model, as drawn for each picture. The head is ours.
    """

    form: Literal["branched", "separate"] = option("branched", "a head on an inner layer, or a network of its own")
    layer: str | None = option(None, "the layer branched off; none: the one half way through the classifier")
    channels: int | None = option(
        None, "of the convolutions in a branch; units, where the layer gives vectors; none: 16"
    )
    network: str | None = option(None, "architecture of a network of its own; none: cnn")
    width: float | None = option(None, "of that network; none: as it comes")
    training: Literal["static", "dynamic"] = option("static", "adversarial pictures made once, or anew in each epoch")
    attack: str = option("pgd", "what makes the adversarial pictures")
    attack_options: tuple[str, ...] | None = option(
        None, "of the attack, as NAME=VALUE; none: 10 steps of 0.25 for pgd"
    )
    aim: Literal["highest_loss", "first_success"] = option(
        "highest_loss", "whether the attack goes on once it succeeds"
    )
    norm: Literal["linf", "l2"] = option("linf", "of the attack's threat")
    eps: float = option(8 / 255, "its radius, in units of pixels in [0, 1]")
    epochs: int = option(20, "how often all pairs are gone through")
    learning_rate: float = option(3e-3, "of Adam")
    minibatch: int = option(64, "pairs a step")
    name: ClassVar[str] = "auxiliary"

    def __post_init__(self) -> None:
        """Check the options."""
        one_of(self, "form", "training", "norm", "aim")
        for name, form in ONLY.items():
            if self.form != form and getattr(self, name) is not None:
                raise refused(self, name, f"none with form={self.form}", f"Leave it out, or take form={form}.")
        for name in ["epochs", "minibatch"] + ["channels"] * (self.channels is not None):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise refused(self, name, "a whole number from 1 up", f"For example {name}=16.")
        for name, usual in (("learning_rate", "0.001"), ("eps", "8/255")):
            if not 0 < getattr(self, name) < float("inf"):
                raise refused(self, name, "a finite number above 0", f"For example {name}={usual}.")
        models.architecture(self.network or NETWORK, self.network_options())
        self.attacker(1)

    def network_options(self) -> dict[str, object]:
        """Those of the architecture."""
        return {} if self.width is None else {"width": f"{self.width:g}"}

    def attacker(self, batch: int) -> Attacker:
        """Who makes the adversarial pictures. Raises: `OptionError` for an attack that is not to be had."""
        given: dict[str, Any] = FEW_STEPS if self.attack == "pgd" and self.attack_options is None else {}
        for text in self.attack_options or ():
            name, equals, value = text.partition("=")
            if not equals:
                raise refused(self, "attack_options", "NAME=VALUE, or several with commas between", "E.g. steps=10.")
            given = {**given, name.strip(): value.strip()}
        attack, threat = attacks.build(self.attack, given), threats.NORMS[self.norm](eps=self.eps)
        check_norm(attack, threat)
        return Attacker(attack, threat, self.aim, batch)

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> "AuxiliarySuspicion":
        """Attack the classifier on the pictures, and learn.

        Raises: `DataError` where the classifier gets no picture right, or the attack breaks none; `ModelError` for a
        layer that the classifier does not have, or a loss that is no longer finite.
        """
        with torch.inference_mode(False), seeded(seed, self.name, home(model, pictures.images)):
            suspicion = self.fresh(model, pictures.shape)
            attacker = self.attacker(batch)
            found = pairs(attacker, model, pictures, seed=seed)
            learning = Learning(self, model, suspicion, found, attacker, seed)
            for done in range(self.epochs + 1):
                if done:
                    learning.epoch(done)
                if progress is not None:
                    progress(len(pictures) * (done + 1) // (self.epochs + 1), len(pictures))
        suspicion.counts.copy_(torch.tensor([len(found.clean), found.misclassified, found.unbroken]))
        return self.finished(suspicion)

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> "AuxiliarySuspicion":
        """The network with first weights."""
        with seeded(0, self.name, home(model, torch.empty(0))):
            return self.finished(self.fresh(model, shape))

    def finished(self, suspicion: "AuxiliarySuspicion") -> "AuxiliarySuspicion":
        """The network as it is used; a branch without batch norms, which cost as much as small layers do."""
        if isinstance(suspicion.network, nn.Sequential) and self.form == "branched":
            suspicion.network = folded(suspicion.network.eval())
        return at_rest(suspicion)

    def fresh(self, model: nn.Module, shape: tuple[int, ...]) -> "AuxiliarySuspicion":
        """The network before it has learnt, where the classifier is."""
        layer, (c, h, w) = None, shape
        if self.form == "branched":
            layer = find(model, shape, self.layer)
            network: nn.Module = head(layer.shape, self.channels or CHANNELS)
        else:
            mean, std = [0.5] * c, [0.25] * c
            given = self.network_options()
            network = models.build(self.network or NETWORK, given, shape=(c, h, w), classes=2, mean=mean, std=std)
        suspicion = AuxiliarySuspicion(network, None if layer is None else layer.name)
        return suspicion.to(home(model, torch.empty(0)), float_type(model))


class AuxiliarySuspicion(Suspicion):
    """What the network says of pictures, or of what `layer` says of them in the classifier's own pass."""

    def __init__(self, network: nn.Module, layer: str | None) -> None:
        super().__init__()
        self.network, self.layer = network, layer
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros(3, dtype=torch.int64))

    @property
    def learnt_from(self) -> int:
        """Pairs of a clean and an adversarial picture."""
        return int(self.counts[0])

    @property
    def misclassified(self) -> int:
        """Training pictures left out, as the classifier got them wrong before any attack."""
        return int(self.counts[1])

    @property
    def unbroken(self) -> int:
        """Training pictures left out, as the attack did not break them."""
        return int(self.counts[2])

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of the classifier, and the difference of those of the network (N,)."""
        if self.layer is None:
            return model(x), self.difference(x)
        logits, features = listen(model, self.layer, x)
        return logits, self.difference(features)

    def difference(self, given: Tensor) -> Tensor:
        """Logit for adversarial less that for clean, (N,)."""
        logits: Tensor = self.network(given)
        return logits[:, 1] - logits[:, 0]

    def alone(self, model: nn.Module, x: Tensor) -> Tensor:
        """The suspicion (N,), without a pass of the classifier where none is needed."""
        return self.difference(x) if self.layer is None else self(model, x)[1]


class Learning:
    """A network on its way through the epochs."""

    def __init__(
        self,
        options: Auxiliary,
        model: nn.Module,
        suspicion: AuxiliarySuspicion,
        found: Pairs,
        attacker: Attacker,
        seed: int,
    ) -> None:
        self.options, self.model, self.suspicion = options, model, suspicion
        self.found, self.attacker, self.seed = found, attacker, seed
        self.adam = torch.optim.Adam(suspicion.parameters(), options.learning_rate)
        self.order = Draws(seed, found.clean.place, attack=zlib.crc32(b"order"))

    def epoch(self, number: int) -> None:
        """Go through all pairs, in an order that is the epoch's own.

        Raises: `ModelError` for a loss that is no longer finite.
        """
        clean, adversarial = self.found.clean, self.adversarial(number)
        place, dtype = home(self.model, adversarial), adversarial.dtype
        drawn = self.order.at(number).uniform(torch.empty(len(clean), 1, dtype=torch.float64))[:, 0]
        self.suspicion.train()
        loss = torch.zeros(())
        with torch.enable_grad(), borrow(self.model):
            for rows in drawn.argsort().split(self.options.minibatch):
                loss = self.step(clean.x(rows, dtype).to(place), adversarial[rows].to(place))
        if not bool(loss.isfinite()):
            raise ModelError(
                f"the detector's loss is no longer finite in epoch {number}; learning_rate is "
                f"{self.options.learning_rate:g}. Try learning_rate={self.options.learning_rate / 10:g}."
            )

    def adversarial(self, number: int) -> Tensor:
        """The adversarial pictures of an epoch."""
        if self.options.training == "static":
            return self.found.adversarial
        return renewed(self.found, self.attacker, self.model, self.suspicion, seed=self.seed, epoch=number)

    def step(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """One step down the logistic loss, log(1 + exp(-label suspicion)), of as many pictures of both kinds.

        The classifier's weights have no gradient, so that the graph begins at the detector.
        """
        label = torch.cat([-torch.ones(len(clean)), torch.ones(len(adversarial))]).to(clean)
        suspicion = self.suspicion.alone(self.model, torch.cat([clean, adversarial]))
        loss = nn.functional.softplus(-label * suspicion).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.detach()


def at_rest(suspicion: AuxiliarySuspicion) -> AuxiliarySuspicion:
    """As it is used: in evaluation mode, its weights without gradients."""
    for weight in suspicion.parameters():
        weight.grad = None
        weight.requires_grad_(False)
    return suspicion.eval()
