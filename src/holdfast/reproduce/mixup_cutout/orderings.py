"""What the source says of each regulariser, and of all."""

from collections.abc import Sequence

from holdfast.reproduce.mixup_cutout.settings import (
    ACCURACY,
    ALL,
    AUGMENT,
    CUTOUT,
    DECAY,
    DROPOUT,
    GAP,
    MIXUP,
    NLL,
    NONE,
    NORM,
    STOP,
    TRAINING,
    USUAL,
)
from holdfast.reproduce.table import Ordering, Row, falling, judged, mean_of

# What the source says of each, and the column that it is read to be about: more accuracy is better, less of all else.
SAID = (
    (CUTOUT, ACCURACY, "Cutout is a simple technique that often works well for small data sets"),
    (AUGMENT, ACCURACY, "The more data, the better the final model, and augmentation makes more of them"),
    (MIXUP, GAP, "Mixup can help avoid overfitting (the source's form)"),
    (USUAL, GAP, "Mixup can help avoid overfitting (the usual form)"),
    (MIXUP, NLL, "Mixup can help avoid overfitting (the source's form)"),
    (USUAL, NLL, "Mixup can help avoid overfitting (the usual form)"),
    (NORM, GAP, "Batch norm can have a regularising effect and reduce overfitting"),
    (DROPOUT, GAP, "A network with dropout learns to do without single features"),
    (STOP, GAP, "Early stopping ends training when the validation error rises"),
    (DECAY, TRAINING, "Weight decay prevents the model from doing too well on the training data"),
    (ALL, ACCURACY, "Regularised models (sometimes) generalise better: all together do so"),
    (ALL, GAP, "Regularised models (sometimes) generalise better: all together do so"),
)


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """The source's sentences: what regularises fits the training data worse and generalises better."""
    fit = {one.name: mean_of(rows, one.name, TRAINING) for one in rows}
    sentence = "Regularisation makes it harder to fit the training data perfectly: nothing fits them better than none."
    return (*(_against_none(rows, *one) for one in SAID), judged(sentence, max(fit.values()) <= fit[NONE], fit))


def _against_none(rows: Sequence[Row], name: str, column: str, sentence: str) -> Ordering:
    """Higher accuracy on the test pictures than without, or less of anything else."""
    if column == ACCURACY:
        return falling(f"{sentence}: higher {column} than without.", rows, column, (name, NONE))
    return falling(f"{sentence}: smaller {column} than without.", rows, column, (NONE, name))
