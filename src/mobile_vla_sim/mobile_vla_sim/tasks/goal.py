"""Protocols of tasks and goals, which scenes, expert, trials and nodes rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mobile_vla_data.trials.reasons import Reason
from mobile_vla_sim.world.access import Point
from mobile_vla_sim.world.scene import Needs, Scene
from mobile_vla_sim.world.world import Truth


class Aim(Enum):
    """Act of the expert that achieves a goal."""

    ROOM = "room"
    APPROACH = "approach"
    GRASP = "grasp"
    PLACE = "place"
    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True)
class Run:
    """Facts about a failed run."""

    last: Truth
    """The last moment."""
    arrived: bool
    """The robot was near the target at some time."""
    reached: bool
    """True if the goal was achieved at some time, but not for long enough or not while standing."""
    held: frozenset[str]
    """Names of the things that were in the gripper at some time."""
    closed_there: bool
    """The gripper was told to close near the target."""


class Goal(Protocol):
    """A goal in one scene."""

    @property
    def aim(self) -> Aim:
        """Act of the expert that achieves it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Values that the instruction may name: room, object, furniture, as they are in the scene."""

    def stands(self, scene: Scene) -> Sequence[Point]:
        """Return the points where the robot can achieve it, if any."""

    def target(self, scene: Scene, truth: Truth | None = None) -> tuple[float, float, float]:
        """Return the point that the instruction refers to [m]: now, or at the start if no truth is given."""

    def distance(self, scene: Scene, truth: Truth) -> float:
        """Return how far the robot's centre is from the target [m]."""

    def reached(self, scene: Scene, truth: Truth) -> bool:
        """Return True if it is achieved at this moment, whether the robot stands or not."""

    def failure(self, scene: Scene, run: Run) -> Reason:
        """Return why a run failed."""


class Task(Protocol):
    """A task that is possible in many scenes."""

    @property
    def name(self) -> str:
        """Name in the collection plan, which has its category and wordings."""

    @property
    def only(self) -> str:
        """Subject of its only goal; empty if it can have several. Tasks with the same subject share no scene."""

    @property
    def far(self) -> bool:
        """True if the robot starts outside the target's room, so that finding the room is part of the task."""

    @property
    def time_limit_s(self) -> float:
        """Longest duration of a trial [s]."""

    def needs(self) -> Needs:
        """Return its requirements on a scene and on the start."""

    def goals(self, scene: Scene) -> Sequence[Goal]:
        """Return the goals that it can have in a scene, none if it cannot be done there."""
