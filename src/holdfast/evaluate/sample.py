"""The pictures that the checks look at, and the attacks on them that several checks share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access import Access, borrow
from holdfast.access.borrow import Model, home
from holdfast.attacks import Aim, Attack, AttackResult, External, Reserve, Trace, run, run_in_a_row
from holdfast.attacks.attack import repeats
from holdfast.attacks.eot import around
from holdfast.data import Pictures
from holdfast.evaluate.edges import extent, measured
from holdfast.evaluate.verify import Verdict, verify
from holdfast.generators import seeded
from holdfast.losses import Goal
from holdfast.losses.objectives import objective
from holdfast.threats import AnyThreat, Rendered, whole_box

HEEDING = (
    nn.modules.batchnorm._NormBase,
    nn.modules.dropout._DropoutNd,
    nn.RReLU,
    nn.FractionalMaxPool2d,
)
SIZE = 128  # pictures; enough that 5 % is 6 of them, few enough that all checks cost about 1,000 passes of each


@dataclass(frozen=True)
class Trial:
    """One attack on the sample."""

    verdict: Verdict
    queries: Tensor  # (n,) int64, points the attack asked about each picture
    claimed: Tensor  # (n,) bool, successes as the attack has them
    trace: Trace | None  # what every lane saw
    x_adv: Tensor  # (n, C, H, W), what it returned

    @property
    def broken(self) -> Tensor:
        """(n,) bool: right before, and a verified success."""
        return self.verdict.success & ~self.verdict.start_wrong

    @property
    def standing(self) -> Tensor:
        """(n,) bool: neither wrong before nor a verified success."""
        return ~(self.verdict.success | self.verdict.start_wrong)


class Sample:
    """The first pictures of the data, in order, so that any number of processes see the same ones.

    Attributes: `model`, `threats` (ascending eps) as evaluated; `row` all attacks, `attacks` only the leading one, as
    the others see what it leaves and to question all would cost more than the evaluation (all of them where pictures
    are rendered from parameters); `in_a_row` how many there are; `repeats` over how many answers the leading one
    averages; `sources` models, by name, that pictures are transferred from; `x` (n, C, H, W), `y` (n,) on the model's
    device; `extent` smallest and largest value of all pictures; `training` the modules that were given in training
    mode and act otherwise in it; `forward`, `backward` passes that the checks made so far; `shared` those of them,
    forward and backward, for what several checks look at, by what it is.
    """

    def __init__(
        self,
        model: Model,
        pictures: Pictures,
        attacks: Sequence[Attack | External],
        threats: Sequence[AnyThreat],
        *,
        seed: int = 0,
        batch: int = 256,
        dtype: torch.dtype = torch.float32,
        sources: Sequence[tuple[str, Model]] = (),
    ) -> None:
        first = slice(0, SIZE)
        there = home(model, pictures.images)
        self.model, self.threats = model, tuple(threats)
        # Of parameters there are few, and gradients get lost among them: no one attack stands for the others.
        self.attacks = tuple(attacks) if isinstance(self.threat, Rendered) else (leading(attacks),)
        self.row = tuple(attacks)
        self.in_a_row = len(attacks)
        self.repeats = repeats(self.attacks[0])
        self.seed, self.batch = seed, batch
        self.sources = tuple(sources)
        self.x, self.y = pictures.x(first, dtype).to(there), pictures.labels[first].to(there)
        self.place = pictures.place[first]
        self.extent = extent(pictures)
        self.training = [name or "the model" for name, m in _modules(model) if m.training and heeds_mode(m)]
        self.forward = self.backward = 0
        self.shared: dict[str, tuple[int, int]] = {}
        self._logits: Tensor | None = None
        self._gradients: dict[str, Tensor] = {}
        self._trials: dict[tuple[str, float], Trial] = {}

    def __len__(self) -> int:
        return len(self.y)

    def to_plain(self) -> dict[str, Any]:
        """What was spent so far, for `spent`."""
        return {"forward": self.forward, "backward": self.backward, "shared": self.shared}

    @property
    def threat(self) -> AnyThreat:
        """The one of the largest radius, which the headline is about."""
        return self.threats[-1]

    @property
    def uses_gradients(self) -> bool:
        """Whether any of the attacks lives on gradients."""
        return any(attack.access >= Access.GRADIENT for attack in self.attacks)

    @property
    def one_radius(self) -> bool:
        """Whether the attacks come from elsewhere with a radius of their own, and can be tried at no other."""
        return any(isinstance(attack, External) and not attack.any_radius for attack in self.attacks)

    @property
    def whole_box(self) -> float:
        """The radius at which everything in the box is allowed."""
        return whole_box(self.threat, tuple(self.x.shape[1:]))

    def ask(self, x: Tensor) -> Tensor:
        """Logits of `x` in evaluation mode, in one batch, without a gradient."""
        self.forward += len(x)
        with borrow(self.model) as lent, torch.no_grad():
            logits: Tensor = lent(x.clone())  # a copy, for a model that works in place
        return logits

    def standing(self, most: int | None = None) -> Tensor:
        """(n,) bool: right before the attack and not broken by it, the first `most` of them.

        A model that answers at random is taken at its average answer: what fools that is broken as well.
        """
        trial = self.attacked(float(self.threat.eps))
        held = self.right & ~trial.broken
        if self.repeats > 1:
            held &= self.expected(trial.x_adv).argmax(1) == self.y
        return held if most is None else held & (held.cumsum(0) <= most)

    def averaged(self, attacks: Sequence[Attack]) -> list[Attack]:
        """Attacks of a check's own, averaged over as many answers as the one under evaluation."""
        return list(attacks) if self.repeats == 1 else [around(attack, self.repeats) for attack in attacks]

    def expected(self, x: Tensor) -> Tensor:
        """Logits of `x`, averaged over as many answers as the attack averages over.

        Answers to other points are drawn by the same numbers, or chance would hide what a short step does.
        """
        answers = []
        for number in range(self.repeats):
            with seeded(self.seed, f"answer {number}", x.device):
                answers.append(self.ask(x))
        return torch.stack(answers).mean(0)

    @property
    def logits(self) -> Tensor:
        """(n, K) logits of the unchanged pictures, asked for once."""
        if self._logits is None:
            with self._noted("logits"):
                self._logits = self.ask(self.x)
        return self._logits

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Note the passes that are made meanwhile as those of something shared, drawn by numbers of its own."""
        forward, backward = self.forward, self.backward
        with seeded(self.seed, what, self.x.device):
            yield
        self.shared[what] = self.forward - forward, self.backward - backward

    def gradient(self, loss: str) -> Tensor:
        """(n, C, H, W): gradient of a loss at the unchanged sample, asked for once; zero where the model cuts it."""
        if loss not in self._gradients:
            with self._noted(f"gradient of {loss}"):
                self._gradients[loss] = self.fresh_gradient(loss)
        return self._gradients[loss]

    def fresh_gradient(self, loss: str) -> Tensor:
        """The same, asked for anew and averaged over as many as the attack averages over."""
        total = torch.zeros_like(self.x)
        for _ in range(self.repeats):
            pieces = zip(torch.split(self.x, self.batch), torch.split(self.y, self.batch), strict=True)
            total += torch.cat([self._gradient(loss, x, y) for x, y in pieces])
        return total / self.repeats

    def _gradient(self, loss: str, x: Tensor, y: Tensor) -> Tensor:
        self.forward += len(x)
        with borrow(self.model) as lent, torch.enable_grad():
            asked = x.detach().requires_grad_()
            total = objective(loss)(lent(asked.clone()), Goal(y)).sum()
            if not total.requires_grad:
                return torch.zeros_like(x)
            self.backward += len(x)
            (gradient,) = torch.autograd.grad(total, asked, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else gradient

    @property
    def right(self) -> Tensor:
        """(n,) bool: classified as labelled before any attack."""
        return self.logits.argmax(1) == self.y

    def attacked(self, eps: float, attacks: Sequence[Attack | External] | None = None) -> Trial:
        """Attack the sample at radius `eps`, with the attacks under evaluation if no others are given; once."""
        chosen = self.attacks if attacks is None else tuple(attacks)
        key = (repr(chosen), eps)
        if key not in self._trials:
            with self._noted(f"{chosen!r} at {eps!r}"):
                self._trials[key] = self._attack(chosen, self.threat.with_eps(eps))
        return self._trials[key]

    def _attack(self, attacks: tuple[Attack | External, ...], threat: AnyThreat) -> Trial:
        everything = torch.ones_like(self.y, dtype=torch.bool)
        found = self.search(attacks, self.model, threat, everything)
        verdict = verify(
            self.model,
            self.x,
            found.x_adv,
            self.y,
            **measured(threat, found.parameters),
            batch=self.batch,
            refuse_nothing=False,
        )
        self.forward += verdict.passes
        return Trial(verdict, found.queries, found.success, found.trace, found.x_adv)

    def search(
        self,
        attacks: Sequence[Attack | External],
        model: Model,
        threat: AnyThreat,
        these: Tensor,
        y: Tensor | None = None,
        aim: Aim = "first_success",
    ) -> AttackResult:
        """Attack another model, or some of the pictures, these (n,) bool, with labels `y` (m,) where not their own.

        The result has a trace where all attacks are ours; others know the aim `first_success` alone.
        """
        own = [attack for attack in attacks if isinstance(attack, Attack)]
        some = (model, self.x[these], self.y[these] if y is None else y, threat)
        place = self.place[these.to(self.place.device)]
        if len(own) == len(attacks):
            found = run(own, *some, seed=self.seed, batch=self.batch, picture=place, aim=aim, trace=True)
        else:
            found = run_in_a_row(attacks, *some, seed=self.seed, batch=self.batch, picture=place, refuse_nothing=False)
        self.forward += int(found.forward.sum())
        self.backward += int(found.backward.sum())
        return found


def spent(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The passes of one process that makes all checks, from `Sample.to_plain` of several that each made some.

    What several checks share is made once by one process, and once by each of several that need it.
    """
    shared = {what: passes for sample in samples for what, passes in sample["shared"].items()}
    total = {}
    for place, kind in enumerate(("forward", "backward")):
        own = sum(sample[kind] - sum(passes[place] for passes in sample["shared"].values()) for sample in samples)
        total[kind] = own + sum(passes[place] for passes in shared.values())
    return total


def leading(attacks: Sequence[Attack | External]) -> Attack | External:
    """The first attack that uses gradients, ours before any from elsewhere, which say less; else the first of all."""
    ready = [attack for attack in attacks if not isinstance(attack, Reserve)] or list(attacks)
    by_gradient = [attack for attack in ready if attack.access >= Access.GRADIENT]
    return next((attack for attack in by_gradient if isinstance(attack, Attack)), (by_gradient or ready)[0])


def heeds_mode(module: nn.Module) -> bool:
    """Whether a module may act otherwise while training: torch's own of that kind, and those whose code asks for it."""
    code = getattr(type(module).forward, "__code__", None)
    return isinstance(module, HEEDING) or (
        not type(module).__module__.startswith("torch.") and code is not None and "training" in code.co_names
    )


def _modules(model: Model) -> list[tuple[str, Any]]:
    return list(model.named_modules()) if isinstance(model, nn.Module) else []
