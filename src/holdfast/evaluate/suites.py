"""Named lists of attacks, cheapest first, so that a command need not spell them out."""

from dataclasses import dataclass

from holdfast.attacks import (
    APGD,
    APGDT,
    DDN,
    FAB,
    FABT,
    FMN,
    PDGD,
    PGD,
    Attack,
    Cut,
    EoT,
    Grid,
    HopSkipJump,
    LaVAN,
    RayS,
    Reserve,
    Square,
    WorstOfK,
)
from holdfast.attacks.attack import suits
from holdfast.errors import OptionError, unknown
from holdfast.threats import AnyThreat, Patch, Rendered


@dataclass(frozen=True)
class Suite:
    """Attacks that are run one after the other, each on the pictures that the ones before left standing.

    `sparse` are those for a threat whose good moves change few values (L1), `rendered` those for one that renders
    pictures from parameters, `patch` those for a patch, where they differ. `threats` names the threats of
    pixels that the suite has a form for, all of them when empty.
    """

    name: str
    about: str
    attacks: tuple[Attack, ...]
    sparse: tuple[Attack, ...] | None = None
    threats: tuple[str, ...] = ()
    rendered: tuple[Attack, ...] | None = None
    patch: tuple[Attack, ...] | None = None

    def within(self, threat: AnyThreat) -> tuple[Attack, ...]:
        """The attacks for a threat, without those that have no form for it.

        Raises: `OptionError` for a threat that the suite has no form for.
        """
        if isinstance(threat, Rendered) and self.rendered is not None:
            return tuple(attack for attack in self.rendered if suits(attack, threat))
        if isinstance(threat, Patch) and self.patch is not None:
            return self.patch
        if self.threats and threat.name not in self.threats:
            raise OptionError(
                f"suite {self.name!r}: threat {threat.name!r}; allowed: {', '.join(self.threats)}. "
                "Choose the suite quick, or name attacks one by one."
            )
        row = self.sparse if threat.sparse and self.sparse is not None else self.attacks
        return tuple(attack for attack in row if suits(attack, threat))


OF_AUTOATTACK = ("linf", "l2", "l1")
SQUARE = Square(rescaled=False, ahead=16)
# As published for L1: Croce & Hein 2021, arXiv:2103.01208.
APGD_L1 = APGD(restarts=5, larger_radii=True)
FABT_L1 = FABT(targets_tried=5)
SMALLEST = (FMN(steps=500), DDN(steps=500), PDGD(steps=500))
# Grid as Engstrom et al. 2019, arXiv:1712.02779; gradients between its points, and scores where they mislead.
OF_PARAMETERS = (WorstOfK(), Grid(), APGD(restarts=5), Square(queries=1000))
BY_LABELS = (HopSkipJump(), RayS())

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "quick",
            "PGD, 40 steps on the cross-entropy from a random start: a first honest look; where pictures are rendered "
            "from parameters, the worst of ten at random and a grid of 135 turns and shifts first; of a patch LaVAN "
            "after it",
            (PGD(),),
            rendered=(WorstOfK(), Grid(angles=15, shifts=3), PGD()),
            patch=(PGD(), LaVAN()),
        ),
        # Croce & Hein 2020, arXiv:2003.01690, sec. 5.
        Suite(
            "standard",
            "what AutoAttack's standard version runs, with its budgets: Auto-PGD; Auto-PGD and FAB towards nine "
            "classes, five in L1; Square with 5,000 queries. Where pictures are rendered from parameters, the worst of "
            "ten at random, a grid of 775 turns and shifts, Auto-PGD five times, Square with 1,000 queries",
            (APGD(), APGDT(), FABT(), SQUARE),
            sparse=(
                APGD_L1,
                APGDT(targets_tried=5, larger_radii=True),
                FABT_L1,
                SQUARE,
            ),
            threats=OF_AUTOATTACK,
            rendered=OF_PARAMETERS,
        ),
        Suite(
            "fast",
            "nearly the verdict of standard for a small part of its passes: Auto-PGD, then towards nine classes while "
            "the loss is on the way; FAB and Square where a check casts doubt on the gradients",
            (
                APGD(steps=20, loss="probability_margin"),
                Cut(attack=APGDT()),
                Reserve(attack=FABT()),
                Reserve(attack=SQUARE),
            ),
            sparse=(
                APGD_L1,
                Cut(attack=APGDT(steps=50, targets_tried=5)),
                Reserve(attack=FABT_L1),
                Reserve(attack=SQUARE),
            ),
            threats=OF_AUTOATTACK,
        ),
        # Their code's version "plus", five restarts of what has no targets; then what looks for the smallest change,
        # by gradients and by labels alone, as another way to where a surface misleads the first.
        Suite(
            "full",
            "all that standard runs, and five restarts of Auto-PGD on the cross-entropy and the DLR loss and of FAB "
            "(AutoAttack's version plus); then searches for the smallest change: FMN, in L2 also DDN and PDGD, and by "
            "labels alone HopSkipJump in Linf and L2, RayS in Linf",
            (
                APGD(restarts=5),
                APGD(loss="dlr", restarts=5),
                APGDT(),
                FAB(restarts=5),
                FABT(),
                *SMALLEST,
                SQUARE,
                *BY_LABELS,
            ),
            sparse=(
                APGD_L1,
                APGD(loss="dlr", restarts=5, larger_radii=True),
                APGDT(larger_radii=True),
                FAB(restarts=5),
                FABT(),
                SMALLEST[0],
                SQUARE,
            ),
            threats=OF_AUTOATTACK,
        ),
        # Croce & Hein 2020, sec. 5 and their code; they do not widen the radii in L1 here, as we do.
        Suite(
            "random",
            "what AutoAttack's version for models that answer at random runs, with its budgets: Auto-PGD on the "
            "cross-entropy and on the DLR loss, each question averaged over 20 answers",
            (EoT(attack=APGD()), EoT(attack=APGD(loss="dlr"))),
            sparse=(
                EoT(attack=APGD(larger_radii=True)),
                EoT(attack=APGD(loss="dlr", larger_radii=True)),
            ),
            threats=OF_AUTOATTACK,
        ),
    )
}


def suite(name: str) -> Suite:
    """The suite of that name. Raises: `OptionError` that lists the nearest and all known ones."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]
