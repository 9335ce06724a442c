"""Why a run failed, in a few words."""

from __future__ import annotations

import math

from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.goal import Aim, Goal
from mobile_vla_sim.tasks.success import NEAR_OBJECT_M, reached, rests_on, target_point
from mobile_vla_sim.world.arm import HANDLE
from mobile_vla_sim.world.furniture import SURFACES
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.world import Truth

NEVER_ARRIVED = "never arrived"
WRONG_ROOM = "wrong room"
WRONG_OBJECT = "wrong object"
NEVER_CLOSED = "never closed the gripper"
CLOSED_ON_NOTHING = "closed on nothing"
DROPPED = "dropped"
NEVER_OPENED = "never opened the gripper"
NOT_MOVED = "did not move the drawer"
DID_NOT_STAY = "did not stay"

REASONS: tuple[str, ...] = (
    NEVER_ARRIVED,
    WRONG_ROOM,
    WRONG_OBJECT,
    NEVER_CLOSED,
    CLOSED_ON_NOTHING,
    DROPPED,
    NEVER_OPENED,
    NOT_MOVED,
    DID_NOT_STAY,
)
"""Every reason that :meth:`Watch.reason` returns."""


class Watch:
    """Follows one run and says at its end why it failed."""

    def __init__(self, assignment: Assignment) -> None:
        self._goal, self._scene = assignment.goal, assignment.scene
        self._start_room = self._scene.start_room
        self._near = self._reached = False
        self._held: set[str] = set()
        self._closed_near = False
        self._closings = 0
        self._last: Truth | None = None

    def see(self, truth: Truth) -> None:
        """Take the truth of one moment."""
        goal, scene = self._goal, self._scene
        near = self._distance(truth) <= NEAR_OBJECT_M
        if near and truth.closings > self._closings:
            self._closed_near = True
        self._closings = truth.closings
        self._near = self._near or near
        self._reached = self._reached or reached(goal, scene, truth)
        if truth.held:
            self._held.add(truth.held)
        self._last = truth

    def reason(self) -> str:
        """Return why the run failed, one of :data:`REASONS`."""
        if self._last is None:
            return NEVER_ARRIVED
        aim = self._goal.aim
        if aim is Aim.ROOM:
            return self._room(self._last)
        if aim is Aim.APPROACH:
            return self._approach(self._last)
        if aim is Aim.PLACE:
            return self._place(self._last)
        return self._grip(HANDLE if aim in (Aim.OPEN, Aim.CLOSE) else self._goal.thing)

    def _room(self, last: Truth) -> str:
        if self._reached:
            return DID_NOT_STAY
        room = self._scene.plan.room_at(last.pose.x, last.pose.y)
        return WRONG_ROOM if room not in ("", self._start_room, self._goal.room) else NEVER_ARRIVED

    def _approach(self, last: Truth) -> str:
        if self._reached:
            return DID_NOT_STAY
        others = [Goal(Aim.APPROACH, thing=name) for name in (*OBJECTS, *SURFACES) if name != self._goal.thing]
        known = [goal for goal in others if goal.thing != self._scene.held]
        return WRONG_OBJECT if any(reached(goal, self._scene, last) for goal in known) else NEVER_ARRIVED

    def _grip(self, thing: str) -> str:
        if self._held - {thing}:
            return WRONG_OBJECT
        if thing in self._held:
            if self._goal.aim is Aim.GRASP:
                return DROPPED
            return DID_NOT_STAY if self._reached else NOT_MOVED
        if not self._near:
            return NEVER_ARRIVED
        if self._reached:
            return DID_NOT_STAY
        return CLOSED_ON_NOTHING if self._closed_near else NEVER_CLOSED

    def _place(self, last: Truth) -> str:
        if last.held:
            return NEVER_OPENED if self._near else NEVER_ARRIVED
        where = rests_on(self._scene, last, self._goal.thing)
        if where == self._goal.surface:
            return DID_NOT_STAY
        return WRONG_OBJECT if where else DROPPED

    def _distance(self, truth: Truth) -> float:
        x, y = truth.pose.x, truth.pose.y
        if self._goal.surface:
            return self._scene.piece(self._goal.surface).footprint.distance(x, y)
        tx, ty, _ = target_point(self._goal, self._scene, truth)
        return math.dist((x, y), (tx, ty))
