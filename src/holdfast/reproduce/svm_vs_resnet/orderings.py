"""What the report says of who is better, and what it says of adversarial training."""

from collections.abc import Sequence
from typing import Final

from holdfast.reproduce.svm_vs_resnet.settings import CLEAN, HARD_SVM, RESNET, ROBUST, SVM, Settings, pgd
from holdfast.reproduce.table import Ordering, Row, falling, judged, mean_of

NOT_ONE: Final = "Under attack the SVM is right on not one picture (at {at})."
SOME: Final = "Under attack the ResNet is still right on some (at {at}; the source has about 30 %)."
HARDER: Final = "The attack hits the SVM harder than the ResNet ({:g}/255)."
LOWERS: Final = "Adversarial training lowers the ResNet's error under attack ({:g}/255)."
USELESS: Final = "Adversarial training is useless for the SVM: its error under attack falls by less than a point."


def orderings(rows: Sequence[Row], settings: Settings) -> tuple[Ordering, ...]:
    """What the source says of who is better, radius by radius where it has to do with an attack."""
    largest, at = pgd(settings.radii[-1]), f"{settings.radii[-1]:g}/255"
    gap = mean_of(rows, SVM, CLEAN) - mean_of(rows, RESNET, CLEAN)
    svm, resnet = (mean_of(rows, name, largest) for name in (SVM, RESNET))
    saved = {
        f"{column}, saved": mean_of(rows, SVM, column) - mean_of(rows, HARD_SVM, column)
        for column in map(pgd, settings.radii)
    }
    return (
        falling("The ResNet is right more often than the SVM.", rows, CLEAN, (SVM, RESNET)),
        judged("It is so by 55 points (within five).", abs(gap - 0.55) <= 0.05, {"lead in clean accuracy": gap}),
        judged(NOT_ONE.format(at=at), svm == 1, {f"{SVM}, {largest}": svm}),
        judged(SOME.format(at=at), resnet < 1, {f"{RESNET}, {largest}": resnet}),
        *(falling(HARDER.format(radius), rows, pgd(radius), (SVM, RESNET)) for radius in settings.radii),
        *(falling(LOWERS.format(radius), rows, pgd(radius), (RESNET, ROBUST)) for radius in settings.radii),
        falling("It costs the ResNet some clean accuracy.", rows, CLEAN, (ROBUST, RESNET)),
        judged(USELESS, max(saved.values()) < 0.01, saved),
    )
