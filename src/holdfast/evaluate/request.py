"""What was asked for: the arguments of an evaluation, checked and completed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from holdfast.access.borrow import Model, home
from holdfast.access.floats import picture_type, takes_float32
from holdfast.attacks import Attack, External, Reserve
from holdfast.attacks.attack import repeats, restarts
from holdfast.attacks.external import check_norm
from holdfast.data import Pictures
from holdfast.errors import OptionError, unknown
from holdfast.evaluate import batch as batches
from holdfast.evaluate import edges, provenance, speed
from holdfast.evaluate.job import Job, bounds, mine
from holdfast.evaluate.provenance import Run
from holdfast.evaluate.speed import Use
from holdfast.evaluate.suites import SUITES
from holdfast.generators import seeded
from holdfast.threats import AnyThreat, plain


@dataclass(frozen=True, kw_only=True)
class Request:
    """An evaluation as it was asked for. Raises: `OptionError`, `DataError`, `ModelError` for what cannot be done.

    Cost: forward passes of up to 9 pictures, which show whether the model answers as a model must.
    """

    model: Model
    pictures: Pictures
    attacks: tuple[Attack | External, ...]
    threats: tuple[AnyThreat, ...]  # ascending eps
    seed: int
    batch: int | Literal["auto"]
    shard_size: int | None
    part: tuple[int, int] | None  # (i, n), i from 1
    checks: bool
    stand_in: Use = "auto"
    transfer_from: Model | None = None
    name: str | None = None
    card: Mapping[str, Any] | None = None
    command: Sequence[str] = field(default=())
    answers: list[list[float]] | None = field(init=False)  # tell this model from another

    def __post_init__(self) -> None:
        if self.shard_size is not None and self.shard_size < 1:
            raise OptionError(
                f"evaluate: shard_size={self.shard_size}; allowed: 1 or more pictures. Leave it out for 1000."
            )
        if self.batch != "auto" and self.batch < 1:
            raise OptionError(
                f"evaluate: batch={self.batch}; allowed: 1 or more pictures, or 'auto'. Leave it out for 'auto'."
            )
        if self.stand_in not in get_args(Use):
            raise unknown("use of a stand-in", str(self.stand_in), get_args(Use))
        if self.part is not None:
            self._check_part(*self.part)
        for attack in self.attacks:
            check_norm(attack, self.threats[0])
        if self.transfer_from is not None and (not self.checks or self.part is not None):
            raise OptionError(
                "evaluate: transfer_from without the check that uses it; allowed: with checks, in a whole run. "
                "Leave it out."
            )
        held = [isinstance(attack, Reserve) for attack in self.attacks]
        if any(held) and self.part is not None:
            raise OptionError(
                "evaluate: attacks in reserve (the suite fast) in a part of a run, which does not know what the checks "
                "said; allowed: in whole runs. Take the suite standard, or launch several processes by torchrun."
            )
        if held != sorted(held) or all(held):
            raise OptionError(
                f"evaluate: attack={', '.join(map(repr, self.attacks))}; allowed: attacks in reserve after all others, "
                "of which there must be one. Put them in this order."
            )
        with seeded(self.seed, "answers", home(self.model, self.pictures.images)):
            object.__setattr__(self, "answers", edges.check_model(self.model, self.pictures))
            if self.transfer_from is not None:
                edges.check_model(self.transfer_from, self.pictures)

    @property
    def slices(self) -> list[slice]:
        """The pictures of every shard."""
        return bounds(len(self.pictures), self.pictures.images[0].numel(), self.shard_size)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the shards that this process does."""
        return mine(len(self.slices), self.part)

    def described(self, recorded: Run | None) -> Run:
        """The content of run.json; what was chosen by measuring is taken over from `recorded`, a run to go on with."""
        first = self.threats[0]
        faster = self._stand_in(recorded)
        return {
            "format": provenance.FORMAT,
            "options": {
                "attack": provenance.describe_attack(self.attacks),
                "threat": {**plain(first), "eps": [float(threat.eps) for threat in self.threats]},
                "seed": self.seed,
                "shard_size": self.shard_size,
                "shard": None if self.part is None else list(self.part),
                "checks": self.checks,
                "transfer_from": None if self.transfer_from is None else provenance.mark_of(self.transfer_from),
            },
            "model": provenance.describe_model(self.model, self.name, self.card, self.answers),
            "data": provenance.describe_data(self.pictures),
            "provenance": provenance.provenance(self.model, self.pictures, self.seed, self.command),
            "choices": {"batch": self._batch(recorded, faster), "stand_in": faster},
        }

    def job(self, run: Run) -> Job:
        """The work on each shard."""
        model, batch = takes_float32(self.model), int(run["choices"]["batch"])
        dtype, tie = picture_type(self.model), edges.tie_of(self.model, self.pictures)
        faster = speed.build(self.model, run["choices"].get("stand_in"))
        return Job(model, self.pictures, self.attacks, self.threats, self.seed, batch, dtype, tie, faster)

    @property
    def sources(self) -> tuple[tuple[str, Model], ...]:
        """Models, by name, that pictures are transferred from to check."""
        return () if self.transfer_from is None else (("the model named", takes_float32(self.transfer_from)),)

    @property
    def _passes(self) -> int:
        """How many passes of each kind a picture may need in all."""
        # How long an attack from elsewhere asks, nobody knows; whether one in reserve does, the checks will say.
        own = [attack for attack in self.attacks if isinstance(attack, Attack) and not isinstance(attack, Reserve)]
        return len(self.threats) * sum(attack.rounds * restarts(attack) * repeats(attack) for attack in own)

    def _stand_in(self, recorded: Run | None) -> dict[str, Any] | None:
        """The plan of a stand-in, as run.json has it; None for none."""
        if self.stand_in == "off" or any(isinstance(attack, External) for attack in self.attacks):
            return None  # what an attack from elsewhere asks of a model, nobody knows
        if recorded is not None:
            plan: dict[str, Any] | None = recorded["choices"].get("stand_in")
            return plan
        if self.part is not None:  # parts that measure might not agree, and could not be merged
            return None
        dtype = picture_type(self.model)
        with seeded(self.seed, "stand-in", home(self.model, self.pictures.images)):
            found = speed.choose(self.model, self.pictures, self._passes, dtype, self.stand_in)
        return None if found is None else found.to_plain()

    def _batch(self, recorded: Run | None, faster: dict[str, Any] | None) -> int:
        if self.batch != "auto":
            return self.batch
        if recorded is not None:
            return int(recorded["choices"]["batch"])
        if self.part is not None:  # parts that measure might not agree, and could not be merged
            return batches.DEFAULT
        model = speed.build(self.model, faster) or takes_float32(self.model)
        with seeded(self.seed, "batch", home(self.model, self.pictures.images)):
            return batches.choose(model, self.pictures, self._passes, picture_type(self.model))

    def _check_part(self, number: int, of: int) -> None:
        if not 1 <= number <= of:
            raise OptionError(f"evaluate: shard {number}/{of}; allowed: i/n with 1 <= i <= n. For the first half, 1/2.")
        if not self.numbers:
            raise OptionError(
                f"evaluate: shard {number}/{of} has nothing to do; shards in all: {len(self.slices)}; allowed: up to "
                f"{len(self.slices)} parts. Take fewer parts, or a smaller shard size."
            )


def chosen(attack: Attack | External | Sequence[Attack | External] | None) -> tuple[Attack | External, ...]:
    """The attacks meant: those given, or the suite "quick"."""
    if attack is None:
        return SUITES["quick"].attacks
    attacks: tuple[Any, ...] = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    for one in attacks if not isinstance(attack, str) else (attack,):
        if isinstance(one, type) or not isinstance(one, Attack | External):
            raise OptionError(
                f"evaluate: attack={one!r}; allowed: an attack, such as holdfast.PGD(steps=40), or several in a list. "
                "holdfast.attacks.build(name) makes one by its name, holdfast.bridges.function(call) one of a callable."
            )
    if not attacks:
        raise OptionError("evaluate: attack=[]; allowed: at least one attack. Leave it out for the suite 'quick'.")
    return attacks
