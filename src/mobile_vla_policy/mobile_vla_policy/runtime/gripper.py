"""Open, closed, or not decided yet: a gripper that nobody has decided about is left as it is."""

from __future__ import annotations

from mobile_vla_data.contract import GripperThresholds


def decide(thresholds: GripperThresholds, value: float, before: bool | None) -> bool | None:
    """Whether the gripper is to be closed, given a probability or position and the decision before.

    None where there was none and ``value`` lies between the thresholds.
    """
    if_open, if_closed = thresholds.decide(value, False), thresholds.decide(value, True)
    return if_open if if_open == if_closed else before
