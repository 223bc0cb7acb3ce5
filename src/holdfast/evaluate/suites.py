"""Named lists of attacks, cheapest first, so that a command need not spell them out."""

from dataclasses import dataclass

from holdfast.attacks import PGD, Attack
from holdfast.errors import unknown


@dataclass(frozen=True)
class Suite:
    """Attacks that are run one after the other, each on the pictures that the ones before left standing."""

    name: str
    about: str
    attacks: tuple[Attack, ...]


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("quick", "PGD, 40 steps on the cross-entropy from a random start: a first honest look", (PGD(),)),
    )
}


def suite(name: str) -> Suite:
    """The suite of that name. Raises: `OptionError` that lists the nearest and all known ones."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]
