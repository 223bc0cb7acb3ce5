"""The gate: is the robust accuracy that was asked for shown by an evaluation? One decision for all who ask."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

from holdfast.errors import BelowTheGate, OptionError
from holdfast.evaluate.result import Evaluation
from holdfast.evaluate.statistics import Rate, fewest, pictures_to_show


@dataclass(frozen=True)
class Gate:
    """Passed when the interval of robust accuracy begins at `at_least` or above, and no check failed.

    Args: `at_least` a rate in [0, 1], asked of the largest radius and so of every smaller one, where no fewer pictures
    hold; `checked` False for an evaluation that left out the checks which ask the model: then only those made count.
    Raises: `OptionError` for anything but a rate. Cost: no model call.
    """

    at_least: float
    checked: bool = True

    def __post_init__(self) -> None:
        given = self.at_least
        if not _is_number(given) or not 0 <= given <= 1:
            percent = _is_number(given) and 1 < given <= 100
            mend = f" For {given:g} %, pass at_least={given / 100:g}." if percent else ""
            raise OptionError(f"at_least={given!r}; allowed: a rate from 0 to 1, such as 0.45 for 45 %.{mend}")

    def why(self, found: Evaluation) -> str | None:
        """One line that says why the gate stays shut; None when it is passed."""
        if doubt := self.doubt(found):
            return f"the gate of {self.at_least:g} is not passed: the numbers are not to be believed, {doubt}"
        if self.holds(found.robust):
            return None
        rate, last = found.robust, found.curve[-1]
        return (
            f"robust accuracy at {found.summary['threat']['name']} {last.eps_text} is {rate.k} of {rate.n}, its "
            f"interval begins at {self.told(rate.low)}; the gate asks for {self.at_least:g} or more. {self.mend(rate)}"
        )

    def check(self, found: Evaluation) -> None:
        """Raise `BelowTheGate` with that line unless the gate is passed."""
        if why := self.why(found):
            raise BelowTheGate(why)

    def holds(self, rate: Rate) -> bool:
        """Whether the interval of `rate` begins at `at_least` or above."""
        return rate.low >= self.at_least

    def doubt(self, found: Evaluation) -> str | None:
        """Why the numbers are not to be believed, if a check failed or, with `checked`, nothing was questioned."""
        failed = any(check.verdict == "fail" for check in found.checks)
        return found.because if failed or (self.checked and not found.believe) else None

    def told(self, low: float) -> str:
        """A lower end in digits, four or as many as keep it on its side of the gate."""
        texts = (f"{low:.{digits}f}" for digits in (4, 6, 9))
        return next((text for text in texts if (float(text) >= self.at_least) == (low >= self.at_least)), repr(low))

    def mend(self, rate: Rate) -> str:
        """What would open the gate to a rate that does not hold: a better model, more pictures, or asking for less."""
        if self.at_least == 1:
            return "No number of pictures shows that all hold: ask for less than 1."
        needed = fewest(rate.n, self.at_least)
        if rate.rate < self.at_least and needed is not None:
            return f"{needed} of {rate.n} pictures would have to hold: harden the model, or lower the gate."
        shown = pictures_to_show(rate, self.at_least)
        if shown is not None:
            return (
                f"The rate itself is high enough, but {rate.n} pictures are too few to show it: evaluate about "
                f"{shown:,}, which do if as large a share of them holds, or lower the gate."
            )
        perfect = pictures_to_show(Rate(rate.n, rate.n), self.at_least)
        if rate.rate < self.at_least and perfect is not None:
            return (
                f"{rate.n} pictures are too few to show it even if all held, and not all do: harden the model and "
                f"evaluate {perfect:,} pictures or more, or lower the gate."
            )
        return "No number of pictures shows it at this rate: harden the model, or lower the gate."


def _is_number(given: Any) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool)
