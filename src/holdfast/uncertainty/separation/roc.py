"""The ROC curve, thinned to what a figure shows."""

import numpy as np

from holdfast.uncertainty.separation.counts import Values, check_scores, counts


def roc(inside: Values, outside: Values, most: int = 200) -> list[tuple[float, float]]:
    """Points (false alarms, found), as shares of the familiar and of the unfamiliar pictures, from (0, 0) to (1, 1).

    At most `most` points, evenly along the curve. Raises: `DataError` as `check_scores`.
    """
    counted = counts(*check_scores(inside, outside))
    across = np.append(0.0, counted.inside / counted.inside[-1])
    up = np.append(0.0, counted.outside / counted.outside[-1])
    walked = across + up  # grows at every point, by what is gained in either direction
    places = np.unique(np.searchsorted(walked, np.linspace(0, 2, most) - 1e-12))
    return [(float(across[p]), float(up[p])) for p in places]
