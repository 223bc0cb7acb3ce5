"""How much of a model an attacker sees."""

from enum import IntEnum


class Access(IntEnum):
    """Levels of access, each including those before it."""

    LABELS = 0  # the predicted class
    SCORES = 1  # the logits
    GRADIENT = 2  # the gradient of a loss with respect to the picture
    JACOBIAN = 3  # the gradient of several logits with respect to the picture
