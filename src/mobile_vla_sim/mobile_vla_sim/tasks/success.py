"""When a goal is achieved, and how the instructed target moves."""

from __future__ import annotations

import math
from collections import deque

from mobile_vla_sim.tasks.goal import Aim, Goal
from mobile_vla_sim.world.access import handle_of, sees
from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.scene import Scene, in_goal_region
from mobile_vla_sim.world.world import Truth

HOLD_S = 1.0
"""How long a goal must stay achieved [s]."""
STANDSTILL_M_S = 0.2
"""Mean commanded speed over that time below which the robot counts as standing [m/s]."""
NEAR_OBJECT_M, NEAR_FURNITURE_M = 0.65, 0.45
"""A robot has arrived at an object, or at the edge of furniture, when its centre is this near."""


def reached(goal: Goal, scene: Scene, truth: Truth) -> bool:
    """Return True if the goal is achieved at this moment, whether the robot stands or not."""
    x, y = truth.pose.x, truth.pose.y
    if goal.aim is Aim.ROOM:
        return in_goal_region(scene.plan, goal.room, x, y)
    if goal.aim is Aim.APPROACH:
        if goal.thing in OBJECTS:
            ox, oy, _ = truth.objects[goal.thing]
            return math.hypot(ox - x, oy - y) <= NEAR_OBJECT_M and sees(scene, (x, y), (ox, oy))
        piece = scene.piece(goal.thing)
        return scene.plan.room_at(x, y) == piece.room and piece.footprint.distance(x, y) <= NEAR_FURNITURE_M
    if goal.aim is Aim.GRASP:
        return truth.held == goal.thing
    if goal.aim is Aim.PLACE:
        return not truth.held and rests_on(scene, truth, goal.thing) == goal.surface
    share = truth.drawer_m / DRAWER_TRAVEL_M
    return share >= 0.7 if goal.aim is Aim.OPEN else share <= 0.15


def rests_on(scene: Scene, truth: Truth, name: str) -> str:
    """Return the kind of furniture that an object rests on; empty: none."""
    x, y, z = truth.objects[name]
    return next((p.kind for p in scene.pieces if p.footprint.contains(x, y) and abs(z - p.height_m) < 0.05), "")


def target_point(goal: Goal, scene: Scene, truth: Truth) -> tuple[float, float, float]:
    """Return where the instructed target is now [m]: the room's goal point, the object, furniture, or handle."""
    if goal.aim in (Aim.APPROACH, Aim.GRASP) and goal.thing in OBJECTS:
        return truth.objects[goal.thing]
    if goal.aim in (Aim.OPEN, Aim.CLOSE):
        return (*handle_of(scene, truth.drawer_m), scene.piece("cabinet").height_m)
    return goal.target(scene)


class SuccessTest:
    """Watches one run: done once the goal has been achieved for :data:`HOLD_S` while the robot was told to stand.

    The commanded speed counts, not the measured one: a robot that pushes against a wall of the right room has not
    arrived.
    """

    def __init__(self, goal: Goal, scene: Scene) -> None:
        self._goal, self._scene = goal, scene
        self._recent: deque[tuple[float, bool, float]] = deque()

    def update(self, truth: Truth) -> bool:
        """Take the truth of one moment and return True if the goal is achieved now. Call it at a steady rate."""
        self._recent.append((truth.time_s, reached(self._goal, self._scene, truth), truth.commanded_speed_m_s))
        # Half a physics step of slack: times are sums of floats.
        while truth.time_s - self._recent[0][0] > HOLD_S + 0.005:
            self._recent.popleft()
        spans = truth.time_s - self._recent[0][0] >= HOLD_S - 0.005
        speed = sum(item[2] for item in self._recent) / len(self._recent)
        return spans and all(item[1] for item in self._recent) and speed < STANDSTILL_M_S
