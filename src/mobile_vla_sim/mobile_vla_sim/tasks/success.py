"""Test of success of a run."""

from __future__ import annotations

from collections import deque

from mobile_vla_sim.tasks.goal import Goal
from mobile_vla_sim.world.scene import Scene
from mobile_vla_sim.world.world import Truth

HOLD_S = 1.0
"""Time for which a goal must stay achieved [s]."""
STANDSTILL_M_S = 0.2
"""Mean commanded speed over that time below which the robot counts as standing [m/s]."""


class SuccessTest:
    """Watches one run: done once the goal has been achieved for :data:`HOLD_S` while the robot was told to stand.

    The commanded speed counts, not the measured one: a robot that pushes against a wall of the right room has not
    arrived.
    """

    def __init__(self, goal: Goal, scene: Scene) -> None:
        self._goal, self._scene = goal, scene
        self._recent: deque[tuple[float, bool, float]] = deque()

    def update(self, truth: Truth) -> bool:
        """Take the truth of one moment and return True if the run has succeeded now. Call it at a steady rate."""
        self._recent.append((truth.time_s, self._goal.reached(self._scene, truth), truth.commanded_speed_m_s))
        # Half a physics step of slack: times are sums of floats.
        while truth.time_s - self._recent[0][0] > HOLD_S + 0.005:
            self._recent.popleft()
        spans = truth.time_s - self._recent[0][0] >= HOLD_S - 0.005
        speed = sum(item[2] for item in self._recent) / len(self._recent)
        return spans and all(item[1] for item in self._recent) and speed < STANDSTILL_M_S
