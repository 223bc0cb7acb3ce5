"""Attacks that are made before the model is asked: on another model, or once for all pictures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import common, given
from holdfast.cli.screen import Screen
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.attacks import Attack, External, Views
    from holdfast.data import Pictures
    from holdfast.extract import Fit
    from holdfast.threats import AnyThreat


class Elsewhere:
    """What the flags say of such an attack: checked at once, made when models and pictures are there.

    Raises: `OptionError` for flags that do not go together.
    """

    def __init__(
        self,
        attack: str | None,
        suite: str | None,
        options: Sequence[str] | None,
        threat: "AnyThreat",
        eot: int | None,
        source: str | None,
        views: "Views | None" = None,
        priced: Mapping[str, Any] | None = None,
    ) -> None:
        self.source, self.threat = source, threat
        self.delta: Path | None = None
        self.fit: Fit | None = None
        self.attacks: tuple[Attack | External, ...] = ()
        if attack is not None and is_universal(attack):
            self._universal(attack, suite, given.pairs(options, "--set"), eot, views, priced)
            return
        if source is not None and attack is None:
            raise OptionError(
                f"--source {source} without --attack; allowed: with one of our own attacks, to be made on the source. "
                "Add --attack mi-fgsm."
            )
        self.attacks = common.attacks_of(attack, suite, options, threat, eot, views, priced)
        if source is not None:
            self._check_own()

    def made(
        self,
        screen: Screen,
        model: Any,
        pictures: "Pictures",
        radii: Sequence[float],
        *,
        device: str,
        training: "Callable[[int], Pictures]",
        seed: int,
        batch: int = 256,
    ) -> "tuple[Attack | External, ...]":
        """The attacks to be run on `model`; `training` loads so many pictures to fit on."""
        from holdfast.extract import same_model, through

        other = common.twin_of(self.source, pictures, device, "--source")
        if other is not None and same_model(other, model):
            screen.note(f"note: the source {self.source!r} is the model itself, so this is an attack in the white box")
        if self.fit is not None or self.delta is not None:
            return (self._fitted(screen, model if other is None else other, pictures, radii, training, seed, batch),)
        if other is None or self.source is None:
            return self.attacks
        short = given.run_name(self.source).name
        own: tuple[Any, ...] = self.attacks
        return tuple(through(other, attack, name=short, batch=batch) for attack in own)

    def _universal(
        self,
        attack: str,
        suite: str | None,
        options: dict[str, str],
        eot: int | None,
        views: "Views | None",
        priced: Mapping[str, Any] | None,
    ) -> None:
        from holdfast.extract import build

        for flag, value in (("--suite", suite), ("--eot", eot), ("--transform", views), ("--penalty", priced)):
            if value:
                raise OptionError(f"--attack {attack} and {flag} {value}; allowed: one of the two. Leave one out.")
        delta = options.pop("delta", None)
        if delta is None:
            self.fit = build(attack, options)
            return
        if options or self.source is not None:
            more = "--source" if self.source is not None else f"--set {next(iter(options))}=..."
            raise OptionError(
                f"--set delta={delta} and {more}; allowed: a change that is fitted already as it is. Leave one out."
            )
        self.delta = Path(delta)

    def _check_own(self) -> None:
        from holdfast.attacks import External
        from holdfast.extract.through import check_attack

        for attack in self.attacks:
            if isinstance(attack, External):
                raise OptionError(
                    f"--source with --attack {attack.name}; allowed: with an attack of our own. For example mi-fgsm."
                )
            check_attack(attack)

    def _fitted(
        self,
        screen: Screen,
        model: Any,
        pictures: "Pictures",
        radii: Sequence[float],
        training: "Callable[[int], Pictures]",
        seed: int,
        batch: int,
    ) -> "External":
        """One change a radius, fitted on the training split, or the one from a file."""
        from holdfast.extract import fit, load, replayed
        from holdfast.extract.shared_change import check_shape

        if self.delta is not None:
            found = load(self.delta)
            check_shape(found.delta, pictures.x(slice(0, 1)))
            return replayed([found])
        assert self.fit is not None  # one of the two is there
        some, made = training(self.fit.pictures), []
        with screen.progress("passes over the pictures") as bar:
            for eps in (radius for radius in sorted(radii) if radius > 0):
                tell = partial(bar.update, text=f"fitting {self.fit.name} at {eps:.4g}")
                within = self.threat.with_eps(eps)
                made.append(fit(self.fit, model, some, within, seed=seed, batch=batch, progress=tell))
        if not made:
            raise OptionError(f"--eps {radii[0]:g} with --attack {self.fit.name}; allowed: a radius above 0.")
        return replayed(made, self.fit.name)


def is_universal(name: str) -> bool:
    """Whether a name means one change for all pictures."""
    from holdfast.extract import UNIVERSAL

    return name in UNIVERSAL
