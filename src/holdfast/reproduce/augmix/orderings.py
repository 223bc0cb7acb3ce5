"""What the source and the lecture that shows it say of AugMix and of ensembles, set by set."""

from collections.abc import Sequence

from holdfast.reproduce.augmix.settings import (
    AUGMENTED,
    AUGMIX,
    BOTH,
    CORRUPTED,
    ECE_SHIFT,
    ENSEMBLE,
    HARDENED,
    PLAIN,
    named,
)
from holdfast.reproduce.table import Ordering, Row, falling

SAID = (  # sentence, column, larger, smaller
    ("AugMix lowers the mean corruption error", CORRUPTED, PLAIN, AUGMIX),
    ("AugMix lowers the mean corruption error beside augmentation", CORRUPTED, AUGMENTED, BOTH),
    ("AugMix improves calibration under shift", ECE_SHIFT, PLAIN, AUGMIX),
    ("AugMix improves calibration under shift beside augmentation", ECE_SHIFT, AUGMENTED, BOTH),
    ("AugMix does more against corruptions than adversarial training", CORRUPTED, HARDENED, AUGMIX),
    ("An ensemble is better than its members: smaller mean corruption error", CORRUPTED, PLAIN, ENSEMBLE),
    ("An ensemble is better than its members: better calibrated under shift", ECE_SHIFT, PLAIN, ENSEMBLE),
)


def orderings(rows: Sequence[Row], sets: Sequence[str]) -> tuple[Ordering, ...]:
    """Every sentence for every set."""
    return tuple(
        falling(f"{sentence} ({data}).", rows, column, (named(data, larger), named(data, smaller)))
        for data in sets
        for sentence, column, larger, smaller in SAID
    )
