"""What the talk's tables and words say of orders."""

from collections.abc import Sequence

from holdfast.reproduce.table import Ordering, Row, falling
from holdfast.reproduce.tv_lipschitz.settings import (
    DIFFERENCES,
    ERROR,
    ERROR_L2,
    ERROR_LINF,
    FIGURES,
    L2_DISTANCE,
    LINF_DISTANCE,
    MAX_LOSS,
    MEAN_LOSS,
    ONE_STEP,
    PGD_L2,
    PLAIN,
    TIME,
    TV,
    TV_LITTLE,
    TV_MORE,
    TV_MOST,
)

RISING = tuple(reversed(FIGURES))  # distances and time grow from the first row of the talk's table to the last


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """Each as the talk's figures have it, judged by ours."""

    def falls(sentence: str, column: str, *names: str) -> Ordering:
        return falling(sentence, rows, column, names)

    return (
        falls("Total variation alone loses no accuracy: its error is below the undefended one.", ERROR, PLAIN, TV),
        falls("So is that of one-step adversarial training.", ERROR, PLAIN, ONE_STEP),
        falls("Accuracy is lost as eps and lambda grow.", ERROR, TV_MOST, TV_MORE, TV_LITTLE),
        falls(
            "The error at L2 0.1 falls from undefended to one-step adversarial training, to total variation, to that "
            "with the Lipschitz term, to more of it.",
            ERROR_L2,
            *(PLAIN, ONE_STEP, TV, TV_LITTLE, TV_MORE),
        ),
        falls("The most of both is no better at L2 0.1 than less of the Lipschitz term.", ERROR_L2, TV_MOST, TV_MORE),
        falls("The median L2 distance grows from row to row.", L2_DISTANCE, *RISING),
        falls("So does the time that it takes.", TIME, *RISING),
        falls("So does the median Linf distance.", LINF_DISTANCE, *RISING),
        falls("At Linf 8/255 the undefended network is worst.", ERROR_LINF, PLAIN, TV),
        falls(
            "At Linf 8/255 one-step adversarial training, whose norm this is, beats it.", ERROR_LINF, PLAIN, ONE_STEP
        ),
        falls("The Lipschitz term lowers the steepest slope of the loss, at eps 0.01.", MAX_LOSS, TV, TV_LITTLE),
        falls("More of it lowers it further, at eps 0.1.", MAX_LOSS, TV_MORE, TV_MOST),
        falls("All terms lower the steepest slope: one-step adversarial training, too.", MAX_LOSS, PLAIN, ONE_STEP, TV),
        falls(
            "The mean slope of the loss falls from row to row, at eps 0.01.", MEAN_LOSS, PLAIN, ONE_STEP, TV, TV_LITTLE
        ),
        falls("Under PGD at L2 100/255 the error falls as eps and lambda grow.", PGD_L2, TV_LITTLE, TV_MORE, TV_MOST),
        falls(
            "What one-step adversarial training stands for, l1 total variation, by differences: it lowers the mean "
            "slope as well.",
            MEAN_LOSS,
            *(PLAIN, DIFFERENCES),
        ),
    )
