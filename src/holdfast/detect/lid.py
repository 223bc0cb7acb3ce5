"""In how many directions training pictures lie around the features of a picture: attacks leave the data's own few."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast import attacks
from holdfast.attacks.external import check_norm
from holdfast.attacks.options import at_least
from holdfast.data import Pictures
from holdfast.detect.features import (
    Remembering,
    check_layers,
    features,
    known_features,
    layers_after_first,
    shuffled,
    squares,
)
from holdfast.detect.interface import Progress
from holdfast.detect.pairs import Attacker, pairs
from holdfast.draws import Draws
from holdfast.errors import DataError
from holdfast.models.guarded import Suspicion
from holdfast.options import one_of, option, refused
from holdfast.threats import NORMS
from holdfast.uncertainty.reading import last_layer

LEAST = 1e-30  # squared distances below it count as it: a copy's is 0 and has no logarithm
MOST = 1e4  # dimensions: where all neighbours are equally far there would be infinitely many
FEW = 10  # attacked pictures below which nothing is learnt of them


@dataclass(frozen=True, kw_only=True)
class LID:
    """Local intrinsic dimensions of the features, weighed by a logistic regression that has seen attacks.

    With r_1 <= ... <= r_k the distances of a picture's features to the nearest of `reference` clean training pictures,
    the dimension is -1 / mean(log(r_i / r_k)), for each of the layers. A logistic regression (scikit-learn's, with its
    usual penalty, on standardised dimensions) tells those of attacked pictures from those of clean ones and of ones
    with Gaussian noise of the same L2 size; the suspicion is its decision value, before the sigmoid. It learns from up
    to `attacked` other training pictures: those that the classifier gets right and `attack` turns within `eps`, at its
    full budget.
    The source takes the neighbours from the minibatch that a picture is in; here they are from a fixed set, drawn by
    the seed, so that a picture's suspicion is its own. By default it is the last features that are looked at; the
    source looks at all layers.
    Distances are taken as 1e-15 at least and dimensions as 10000 at most, which only copies come near.
    Cost: one forward pass a picture and its distances to the reference, in float64; to fit, the attack besides.
    Source: Ma et al. 2018, arXiv:1801.02613, algorithm 1; the estimator is that of Amsaleg et al. 2015,
    doi:10.1145/2783258.2783405.
    """

    k: int = option(20, "neighbours")
    reference: int = option(
        1000, "the most clean pictures neighbours are from; half of those given, where that is less"
    )
    attacked: int = option(500, "the most pictures attacked to learn from")
    layers: tuple[str, ...] = option(
        (), "linear or convolutional layers whose inputs are looked at; all: all but the first; none: the last"
    )
    attack: str = option("pgd", "that learnt from")
    norm: Literal["linf", "l2", "l1", "l0"] = option("linf", "of that attack's threat")
    eps: float = option(8 / 255, "its radius, in units of pixels in [0, 1]")
    name: ClassVar[str] = "lid"

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 2, "k")
        at_least(self, FEW, "attacked")
        if self.reference <= self.k:
            raise refused(self, "reference", f"more than k={self.k}", f"For example reference={10 * self.k}.")
        if len(set(self.layers)) < len(self.layers):
            raise refused(self, "layers", "each layer once", "Leave out the second one.")
        one_of(self, "norm")
        if self.eps == 0:
            raise refused(self, "eps", "above 0", "For 8 grey levels pass eps=8/255.")
        check_norm(attacks.build(self.attack), NORMS[self.norm](eps=self.eps))

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """The reference and the regression. Raises: `DataError` for too few pictures, or too few turned."""
        order = shuffled(pictures, seed)
        split = min(self.reference, len(order) // 2)
        if split <= self.k:
            raise DataError(
                f"lid: fitted on {len(order)} pictures; allowed: {2 * self.k + 2} or more with k={self.k}, half of "
                "which are the neighbours. Give more training pictures, or a smaller k."
            )
        found = self.outline(model, pictures.shape)
        rows = known_features(model, pictures.take(order[:split]), found.layers, batch=batch, progress=progress)
        found.keep({f"rows_{number}": kept for number, kept in enumerate(rows)})
        groups = self.opposed(model, pictures.take(order[split : split + self.attacked]), seed, batch)
        seen = [known_features(model, group, found.layers, batch=batch) for group in groups]
        values = torch.cat([found.dimensions(some, batch) for some in seen]).cpu()
        is_attack = torch.arange(len(values)) >= len(values) * 2 // 3
        found.keep(separated(values, is_attack))
        return found.to(rows[0].device)

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> "Dimensions":
        """The layers are found again; values are read into it."""
        if not self.layers:
            return Dimensions([last_layer(model, torch.full((2, *shape), 0.5))], self.k)
        if self.layers == ("all",):
            return Dimensions(layers_after_first(model, shape), self.k)
        check_layers(model, self.layers)
        return Dimensions(list(self.layers), self.k)

    def opposed(self, model: nn.Module, pictures: Pictures, seed: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean pictures that the attack turns, each with noise, and each attacked: (n, C, H, W), row by row."""
        threat = NORMS[self.norm](eps=self.eps)
        found = pairs(Attacker(attacks.build(self.attack), threat, "highest_loss", batch), model, pictures, seed=seed)
        if len(found.clean) < FEW:
            raise DataError(
                f"lid: {self.attack} at {self.norm} eps={self.eps:g} turns {len(found.clean)} of {len(pictures)} "
                f"training pictures; allowed: {FEW} or more to learn from. Give more pictures, or a larger eps."
            )
        x, x_adv = found.clean.x(None, found.adversarial.dtype), found.adversarial
        noise = Draws(seed, found.clean.place).normal(x, stream=2)
        size, own = ((t.flatten(1).norm(dim=1)).view(-1, 1, 1, 1) for t in (x_adv - x, noise))
        return x, (x + noise * (size / own)).clamp(0, 1), x_adv


class Dimensions(Remembering):
    """The decision value of a regression on the local intrinsic dimensions of what layers are given."""

    weight: Tensor  # (L,) float64, of the layers
    bias: Tensor  # () float64

    def __init__(self, layers: list[str], k: int) -> None:
        super().__init__()
        self.layers, self.k = layers, k

    def expected(self) -> tuple[str, ...]:
        """Features of the reference (M, D) for each layer, and the regression."""
        return (*(f"rows_{number}" for number in range(len(self.layers))), "weight", "bias")

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the decision value (N,)."""
        logits, given = features(model, x, self.layers)
        found = self.dimensions(given, max(1, x.shape[0])) @ self.weight.to(x.device) + self.bias.to(x.device)
        return logits, found.to(logits)

    def dimensions(self, given: list[Tensor], batch: int) -> Tensor:
        """What the layers are given, (N, D) each, to (N, L), so many pictures at a time."""
        columns = []
        for number, rows in enumerate(given):
            reference = self.get_buffer(f"rows_{number}").to(rows.device)
            columns.append(torch.cat([dimension(squares(part, reference), self.k) for part in rows.split(batch)]))
        return torch.stack(columns, 1)


def dimension(squared: Tensor, k: int) -> Tensor:
    """The maximum likelihood estimate (N,) of the dimension about points, from their squared distances (N, M)."""
    logs = squared.topk(k, dim=1, largest=False).values.clamp_min(LEAST).log() / 2
    return -1 / (logs - logs[:, -1:]).mean(1).clamp_max(-1 / MOST)


def separated(values: Tensor, attacked: Tensor) -> dict[str, Tensor]:
    """Weight (L,) and bias of a logistic regression that tells rows (N, L) apart, for values as they are."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = values.mean(0), values.std(0, unbiased=False)
    spread = torch.where(spread > 0, spread, 1)
    found = LogisticRegression(max_iter=1000).fit(((values - mean) / spread).numpy(), attacked.numpy())
    weight = torch.from_numpy(found.coef_[0]) / spread
    return {"weight": weight, "bias": torch.as_tensor(found.intercept_[0]) - weight @ mean}
