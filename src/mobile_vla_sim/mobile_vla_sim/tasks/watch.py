"""Follows one run and says at its end why it failed."""

from __future__ import annotations

from mobile_vla_data.trials.reasons import Reason
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.goal import Run
from mobile_vla_sim.tasks.goals import NEAR_OBJECT_M
from mobile_vla_sim.world.world import Truth


class Watch:
    """Collects the facts that determine the reason of a failure."""

    def __init__(self, assignment: Assignment) -> None:
        self._goal, self._scene = assignment.goal, assignment.scene
        self._arrived = self._reached = self._closed_there = False
        self._held: set[str] = set()
        self._closings = 0
        self._last: Truth | None = None

    def see(self, truth: Truth) -> None:
        """Take the truth of one moment."""
        near = self._goal.distance(self._scene, truth) <= NEAR_OBJECT_M
        self._closed_there = self._closed_there or (near and truth.closings > self._closings)
        self._arrived = self._arrived or near
        self._reached = self._reached or self._goal.reached(self._scene, truth)
        if truth.held:
            self._held.add(truth.held)
        self._closings, self._last = truth.closings, truth

    def reason(self) -> Reason:
        """Return why the run failed."""
        if self._last is None:
            return Reason.NEVER_ARRIVED
        run = Run(self._last, self._arrived, self._reached, frozenset(self._held), self._closed_there)
        return self._goal.failure(self._scene, run)
