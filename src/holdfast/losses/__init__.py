"""Goals, and losses that grow towards them: `OBJECTIVES` by name, the bare formulas in `losses.formulas`.

`losses.training` has those that only training needs.
"""

from holdfast.losses import formulas, objectives, training
from holdfast.losses.goal import Goal
from holdfast.losses.objectives import OBJECTIVES, Objective, objective

__all__ = ["OBJECTIVES", "Goal", "Objective", "formulas", "objective", "objectives", "training"]
