"""Conditions of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ros2_lite.errors import UserError
from ros2_lite.launching.substitutions import SomeText, perform

if TYPE_CHECKING:
    from ros2_lite.launching.context import LaunchContext


def is_true(text: str) -> bool:
    """Read ``true``, ``1``, ``false`` or ``0``, in any case; raises UserError for anything else."""
    if text.strip().lower() in ("true", "1"):
        return True
    if text.strip().lower() in ("false", "0"):
        return False
    raise UserError(f"a condition is {text!r}; it must be one of true, 1, false, 0")


class IfCondition:
    """Holds when the expression is true."""

    def __init__(self, predicate_expression: SomeText) -> None:
        self._expression = predicate_expression

    def evaluate(self, context: LaunchContext) -> bool:
        """Whether it holds."""
        return is_true(perform(context, self._expression))


class UnlessCondition(IfCondition):
    """Holds when the expression is false."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)
