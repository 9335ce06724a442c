"""Arrival: a policy that has moved and then stands still by its own decision is done with its instruction."""

from __future__ import annotations

import math

from mobile_vla_policy.runtime.scheduler import Action

STANDSTILL_M_S = 0.05
"""Commanded speed below which the robot stands: below that of driving, above the noise of standing."""
STANDSTILL_RAD_S = 0.1
"""Commanded yaw rate below which the robot does not turn."""
LEAST_DISTANCE_M = 0.1
"""A policy that has commanded less motion than this [m] may not have begun yet."""
LEAST_TURN_RAD = 0.2
"""A policy that has turned less than this [rad] may not have begun yet."""


class Arrival:
    """Watches the actions of one instruction.

    Only actions count. Ticks without one (inputs missing, inference late, an operator in command) do not show the
    policy's intention, and the time starts again after them. A change of the gripper is motion, too.

    A simulated clock may be set back: the time of standing still starts again then, too.
    """

    def __init__(self, done_after_s: float, period_s: float) -> None:
        """``done_after_s`` of standing still are an arrival [s], 0: never; ``period_s`` is the control period [s]."""
        self._done_after_s = done_after_s
        self._period_s = period_s
        self.restart()

    def restart(self) -> None:
        """Begin with another instruction."""
        self._distance_m = self._turned_rad = 0.0
        self._grasped = False
        self._closed: bool | None = None
        self._still_since_s: float | None = None
        self._last_s: float | None = None

    def update(self, now_s: float, action: Action | None) -> bool:
        """Take the action of a tick, None if there is none, and return whether the policy has arrived."""
        last_s, self._last_s = now_s if self._last_s is None else self._last_s, now_s
        elapsed_s = max(0.0, now_s - last_s)
        if now_s < last_s:
            self._still_since_s = None
        if action is None:
            self._still_since_s = None
            return False
        speed_m_s = math.hypot(action.delta_x, action.delta_y) / self._period_s
        yaw_rate_rad_s = abs(action.delta_yaw) / self._period_s
        drives, turns = speed_m_s >= STANDSTILL_M_S, yaw_rate_rad_s >= STANDSTILL_RAD_S
        # The noise of standing still adds up to no motion.
        self._distance_m += speed_m_s * elapsed_s if drives else 0.0
        self._turned_rad += yaw_rate_rad_s * elapsed_s if turns else 0.0
        if self._gripper_changed(action.gripper_closed) or drives or turns:
            self._still_since_s = None
            return False
        if self._still_since_s is None:
            self._still_since_s = now_s
        begun = self._grasped or self._distance_m >= LEAST_DISTANCE_M or self._turned_rad >= LEAST_TURN_RAD
        return begun and 0.0 < self._done_after_s <= now_s - self._still_since_s

    def _gripper_changed(self, closed: bool | None) -> bool:
        if closed is None:
            return False
        before, self._closed = self._closed, closed
        changed = before is not None and closed != before
        self._grasped |= changed
        return changed
