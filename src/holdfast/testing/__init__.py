"""Robustness as a test: a function for pytest that fails with the reason, and JUnit XML for what reads it.

Neither needs pytest to be there; `assert_robust` works in any function that may raise an `AssertionError`.
"""

from holdfast.testing.junit import write_junit
from holdfast.testing.robust import assert_robust

__all__ = ["assert_robust", "write_junit"]
