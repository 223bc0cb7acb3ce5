"""What may be asked of a model, how it is asked, and what it cost.

An attack states a `Query`; the engine puts it to an `Oracle`, which runs the borrowed model and counts on a
`Meter`; what comes back is one of `Labels`, `Scores`, `Gradient`, `Jacobian`, never more than the attack's
`Access` allows.
"""

from holdfast.access.answer import Answer, Gradient, Jacobian, Labels, Scores
from holdfast.access.borrow import borrow
from holdfast.access.level import Access
from holdfast.access.meter import Budget, Meter
from holdfast.access.oracle import Oracle, Part, Refusal
from holdfast.access.query import Objective, Query, View

__all__ = [
    "Access",
    "Answer",
    "Budget",
    "Gradient",
    "Jacobian",
    "Labels",
    "Meter",
    "Objective",
    "Oracle",
    "Part",
    "Query",
    "Refusal",
    "Scores",
    "View",
    "borrow",
]
