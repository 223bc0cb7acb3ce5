"""What the report says of orders, and what is asked of ours beyond it."""

from collections.abc import Sequence

from holdfast.reproduce.deep_defense.rows import AREAS_GROUP, area_of
from holdfast.reproduce.deep_defense.settings import (
    ACCURACY,
    AT,
    COLUMNS,
    DEEP_DEFENSE,
    FINE_TUNED,
    PUBLISHED,
    RHO,
    THREE,
    VANILLA,
)
from holdfast.reproduce.deep_defense.training import CHOSEN, CLEAN_DEFENSE, GENTLE_DEFENSE
from holdfast.reproduce.table import Ordering, Row, falling, judged, mean_of

SIMILAR = 0.005  # the report's areas of the two trained on DeepFool's pictures differ by 0.0018 at most


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """All of them, the report's first."""
    return (*_of_the_report(rows), *_of_areas(rows), *_gains(rows), *_beaten(rows))


def _of_the_report(rows: Sequence[Row]) -> list[Ordering]:
    ranked = (DEEP_DEFENSE, FINE_TUNED, VANILLA)
    found = [
        falling(
            "Adversarial training is the most accurate, then Deep Defense, then vanilla.",
            rows,
            ACCURACY,
            (FINE_TUNED, DEEP_DEFENSE, VANILLA),
        )
    ]
    for column in (RHO, *AT.values()):
        sentence = f"By {column}, Deep Defense comes first, then adversarial training, then vanilla."
        found.append(falling(sentence, rows, column, ranked))
    return found


def _of_areas(rows: Sequence[Row]) -> list[Ordering]:
    classes = [one for one in rows if one.group == AREAS_GROUP]
    least, apart = {}, {}
    for one in classes:
        vanilla, tuned, defended = (one.ours[area_of(name)].mean for name in THREE)
        least[f"{one.name}, lead over vanilla"] = min(tuned, defended) - vanilla
        apart[f"{one.name}, difference"] = abs(tuned - defended)
    return [
        judged(
            "Vanilla has the smallest area under the ROC curve in every class.",
            all(value > 0 for value in least.values()),
            least,
        ),
        judged(
            f"The areas of adversarial training and Deep Defense are alike (within {SIMILAR:g} in every class).",
            all(value <= SIMILAR for value in apart.values()),
            apart,
        ),
    ]


def _gains(rows: Sequence[Row]) -> list[Ordering]:
    """Deep Defense against vanilla, by as much as in the report: as it trained, and with a smaller weight."""
    return [one for name in (DEEP_DEFENSE, CLEAN_DEFENSE, GENTLE_DEFENSE) for one in _gains_of(rows, name)]


def _gains_of(rows: Sequence[Row], name: str) -> list[Ordering]:
    wanted = round(PUBLISHED[DEEP_DEFENSE][RHO] / PUBLISHED[VANILLA][RHO], 2)
    ratio = mean_of(rows, name, RHO) / mean_of(rows, VANILLA, RHO)
    kept, before = mean_of(rows, name, ACCURACY), mean_of(rows, VANILLA, ACCURACY)
    accuracies = {f"{name}, {ACCURACY}": kept, f"{VANILLA}, {ACCURACY}": before}
    gains: dict[str, float | None] = {}
    held = []
    for column in AT.values():
        gain = mean_of(rows, name, column) - mean_of(rows, VANILLA, column)
        published = PUBLISHED[DEEP_DEFENSE][column] - PUBLISHED[VANILLA][column]
        gains |= {f"gain {column}": gain, f"gain {column}, published": published}
        held.append(gain >= published - 1e-12)
    return [
        judged(f"{name}: rho2 is at least {wanted:g} times that of vanilla.", ratio >= wanted, {"ratio": ratio}),
        judged(f"{name}: no accuracy is lost against vanilla.", kept >= before, accuracies),
        judged(f"{name}: the accuracies on FGSM's pictures gain at least what the report's gain.", all(held), gains),
    ]


def _beaten(rows: Sequence[Row]) -> list[Ordering]:
    return [
        falling(f"By {column}, the recipe {CHOSEN} beats Deep Defense.", rows, column, (CHOSEN, DEEP_DEFENSE))
        for column in COLUMNS
    ]
