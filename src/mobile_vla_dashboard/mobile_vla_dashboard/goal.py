"""The newest goal of ``policy/execute`` as the page shows it, whoever sent it. No rclpy."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_vla_msgs.action import ExecuteInstruction

_Result = ExecuteInstruction.Result

#: Code of the result -> key in the table of words, and the tone.
RESULTS = {
    _Result.OK: ("goal.limit", "warn"),
    _Result.CANCELLED: ("goal.cancelled", "idle"),
    _Result.NOT_ACTIVE: ("goal.inactive", "bad"),
    _Result.INVALID_REQUEST: ("goal.invalid", "bad"),
    _Result.OBSERVATION_LOST: ("goal.lost", "bad"),
    _Result.INFERENCE_FAILED: ("goal.failed", "bad"),
    _Result.PREEMPTED: ("goal.preempted", "idle"),
    _Result.DEACTIVATED: ("goal.deactivated", "idle"),
    _Result.ANOTHER_POLICY: ("goal.rival", "bad"),
    _Result.ARRIVED: ("goal.arrived", "ok"),
}


@dataclass(frozen=True)
class Goal:
    """The newest goal."""

    running: bool
    id: str = ""
    """32 hexadecimal digits."""
    before: frozenset[str] = frozenset()
    """Ids of the goals that the policy listed when this one began, and of the one that it replaced."""
    steps: int = 0
    """Forward passes so far."""
    elapsed_s: float = 0.0
    error_code: int | None = None
    """Of the result; None while it runs, or if the result is not known."""
    message: str = ""
    """The result's line."""


def headline(goal: Goal) -> tuple[str, str]:
    """Return the key in the table of words, and the tone, for a goal that runs or has ended."""
    if goal.running:
        return "goal.running", "active"
    return ("goal.ended", "idle") if goal.error_code is None else RESULTS.get(goal.error_code, ("goal.ended", "bad"))
