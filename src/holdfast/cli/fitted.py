"""Fitting a detector for a command, or finding it fitted by a run that was cut short."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import given
from holdfast.cli.screen import Screen
from holdfast.errors import RunError

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.detect import Detector, Fitted
    from holdfast.evaluate import Opened


@dataclass(frozen=True)
class Fitting:
    """How a detector is fitted beside a classifier. Raises: `OptionError` for an unknown detector, option or rate."""

    detector: "Detector"
    false_alarms: float
    seed: int
    batch: int

    @classmethod
    def of(cls, text: str, false_alarms: str, seed: int, batch: int) -> "Fitting":
        """As the flags say."""
        from holdfast import detect

        named = given.named(text, "--detector")
        chosen = detect.detector(str(named.pop("name")), named)
        return cls(chosen, given.number(false_alarms, "--false-alarms"), seed, batch)

    def saved(
        self,
        screen: Screen,
        opened: "Opened",
        training: "Pictures",
        held_out: "Pictures",
        folder: Path,
        model_set: list[str] | None,
    ) -> "tuple[Fitted, dict[str, Any]]":
        """A detector fitted and written, and what its file holds."""
        from holdfast import detect
        from holdfast.models import card_of

        with screen.progress() as bar:
            made = detect.fit(
                self.detector,
                opened.model,
                training,
                held_out,
                false_alarms=self.false_alarms,
                seed=self.seed,
                batch=self.batch,
                progress=partial(bar.update, text=f"fitting {self.detector.name}"),
            )
        card = opened.card or card_of(opened, training.shape, training.classes, given.pairs(model_set, "--model-set"))
        return made, detect.save(folder, made, card, self.told(opened, training, held_out))

    def told(self, opened: "Opened", training: "Pictures", held_out: "Pictures") -> dict[str, Any]:
        """What goes on record of it, beside what a guarded model says of itself."""
        from holdfast.evaluate import provenance

        return {
            "source": opened.source,
            "fitted_on": provenance.describe_data(training),
            "threshold_on": provenance.describe_data(held_out),
            "seed": self.seed,
        }

    def kept(self, opened: "Opened", training: "Pictures", held_out: "Pictures", folder: Path) -> "Fitted | None":
        """The detector in `folder`, fitted so before; None without one. Raises: `RunError` for one fitted otherwise."""
        from holdfast import detect

        if not detect.is_guard(folder):
            return None
        found = detect.load(folder, opened.model)
        was = (detect.described(found.detector), found.threshold.false_alarms, detect.told(folder))
        wanted = (detect.described(self.detector), self.false_alarms, self.told(opened, training, held_out))
        if was != wanted:
            raise RunError(
                f"the detector in {str(folder)!r} was fitted in another way; allowed with --resume: that of the run "
                "that was cut short. Give its options again, or choose another --out."
            )
        return found


def doubts(made: "Fitted") -> list[str]:
    """What speaks against a fitted detector, a sentence each."""
    found, n = [], made.threshold.n
    if made.blind:
        found.append(f"{made.detector.name} says the same of {made.alike} of {n} clean pictures: it learnt nothing")
    if 2 * made.misclassified > n:
        found.append(
            f"the classifier gets {made.misclassified} of {n} clean pictures wrong: it may have been trained on other "
            "data than these"
        )
    return found


def warned(screen: Screen, texts: Sequence[str]) -> list[str]:
    """The same texts, told on stderr unless it is to be quiet; --json holds them in any case."""
    for text in texts:
        screen.note(f"warning: {text}")
    return list(texts)


def shown_fit(made: "Fitted", held_out: "Pictures") -> list[str]:
    """For people."""
    flagged = int((made.clean.double() > made.threshold.value).sum())
    return [
        f"{made.detector.name}: refuses above {made.threshold.value:.4g}, at most "
        f"{100 * made.threshold.false_alarms:g} % of clean pictures to come",
        f"from {made.threshold.n} {held_out.split} pictures, {flagged} of them above it; the classifier gets "
        f"{made.misclassified} of them wrong, which count like the others",
    ]
