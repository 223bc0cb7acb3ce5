"""One training run as the page shows it: its name and mark, its scores, what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from holdfast.errors import OptionError
from holdfast.evaluate.statistics import Rate
from holdfast.report import compare, origins, training_words, words
from holdfast.report.training_run import TrainingRun
from holdfast.train import Count, recipe_of


@dataclass(frozen=True)
class Row:
    """An epoch as a row of the table."""

    number: int
    loss: str
    train: dict[str, Any]
    validation: dict[str, Any] | None
    robust: dict[str, Any] | None
    learning_rate: str
    kept: bool


@dataclass(frozen=True)
class Learner:
    """One training run as the templates see it."""

    run: TrainingRun
    name: str
    place: int  # chooses colour and mark
    style: str  # class that carries the colour
    mark: str  # SVG

    @property
    def train(self) -> dict[str, Any] | None:
        """Training pictures that were right in the kept epoch, each before its step."""
        return rate(self.run.kept.train if self.run.kept else None)

    @property
    def validation(self) -> dict[str, Any] | None:
        """Validation pictures that are right."""
        return rate(self.run.kept.validation if self.run.kept else None)

    @property
    def robust(self) -> dict[str, Any] | None:
        """Validation pictures that are right under attack."""
        return rate(self.run.kept.robust if self.run.kept else None)

    @cached_property
    def rows(self) -> list[Row]:
        """The epochs."""
        run = self.run
        return [
            Row(
                epoch.number,
                f"{epoch.loss:.4g}",
                Rate(*epoch.train).to_plain(),
                rate(epoch.validation),
                rate(epoch.robust),
                "–" if epoch.learning_rate is None else f"{epoch.learning_rate:.3g}",
                epoch is run.kept,
            )
            for epoch in run.history
        ]

    @property
    def state(self) -> str:
        """How far it is, and which epoch is kept."""
        run, done, planned = self.run, len(self.run.history), self.run.options.epochs
        if run.kept is None:
            return f"No epoch of {planned} is finished yet."
        if run.card is None:
            return (
                f"Not finished: {done} of {words.plural(planned, 'epoch')} done. What stands here is the state so far."
            )
        length = (
            f"Stopped early after {done} of {planned} epochs" if run.stopped_early else f"All {planned} epochs done"
        )
        length = "Its one epoch is done" if planned == 1 else length
        which = "the best of them" if run.options.watch != "none" else "the last"
        return f"{length}." if planned == 1 else f"{length}; the weights are those of epoch {run.kept.number}, {which}."

    @property
    def story(self) -> str:
        """What was trained, on what, and against whom."""
        about = self.run.about
        data, adversary = about["data"], about["adversary"]
        made = f"{words.plural(data['n'], 'picture')} of {data['name']}"
        if adversary is None:
            return f"{about['model']['architecture']}, trained on {made} as they are."
        moved = "on what" if self.run.options.mix == 1 else "in part on what"
        attack, where = adversary["attack"]["name"], training_words.all_within(adversary)
        return f"{about['model']['architecture']}, trained {moved} {attack} makes of {made}, {where}."

    @property
    def judged(self) -> str:
        """Which attack the pictures withstood, and within what; an empty string where none was attacked."""
        about, robust = self.run.about, self.robust
        if robust is None or about["adversary"] is None:
            return ""
        judge, adversary = about.get("judge"), about["adversary"]
        where = training_words.all_within(adversary)
        named = training_words.part(judge) if judge else "an attack that is not on record"
        other = judge is not None and judge != adversary["attack"]
        stronger = (
            " That is not the attack that was trained against: a net can learn to fool few steps." if other else ""
        )
        return f"Under attack: {named}, {where}, on the first {robust['n']} validation pictures.{stronger}"

    @property
    def chosen(self) -> str:
        """A warning where the score shown also chose the epoch."""
        if self.run.options.watch == "none" or self.run.kept is None:
            return ""
        score = "under attack" if self.run.options.watch == "robust" else "on the validation pictures"
        return (
            f"The score {score} also chose the epoch, so it flatters a little; the test split has not been looked at."
        )

    @cached_property
    def recipe(self) -> str:
        """The recipe file that trains it again, or an empty string."""
        return self._recipe[0]

    @cached_property
    def unwritten(self) -> str:
        """Why there is no recipe file, or an empty string."""
        return self._recipe[1]

    @cached_property
    def _recipe(self) -> tuple[str, str]:
        try:
            return recipe_of(self.run.about), ""
        except OptionError as error:
            return "", words.sentence(str(error))

    @property
    def resumed(self) -> str:
        """Where it was interrupted, in a sentence."""
        epochs = self.run.resumed_in
        if not epochs:
            return "none" if len(self.run.starts) < 2 else "resumed, in epochs that are not on record"
        return f"resumed in epoch {' and '.join(map(str, epochs))}"

    @property
    def versions(self) -> str:
        """Versions, device, seed and hash of the pictures in one line."""
        about = self.run.about
        noted = {**(about.get("provenance") or {}), "seed": about["seed"]}
        return origins.versions(noted, {"pictures": about["data"].get("sha256")})


def rate(count: Count | None) -> dict[str, Any] | None:
    """A count with its interval, for the templates."""
    return None if count is None else Rate(*count).to_plain()


def learners(runs: Sequence[TrainingRun]) -> list[Learner]:
    """All runs with their names, in the order given; a run alone is called by its architecture."""
    alone = [str(run.about["model"]["architecture"]) for run in runs]
    names = alone if len(runs) == 1 else compare.distinct([run.folder for run in runs])
    return [Learner(run, *who) for run, who in zip(runs, compare.told_apart(names), strict=True)]
