"""What tasks and goals are: the protocols that scenes, expert, trials and nodes rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mobile_vla_sim.world.access import Point
from mobile_vla_sim.world.scene import Needs, Scene
from mobile_vla_sim.world.world import Truth


class Aim(Enum):
    """What the expert has to do for a goal."""

    ROOM = "room"
    APPROACH = "approach"
    GRASP = "grasp"
    PLACE = "place"
    OPEN = "open"
    CLOSE = "close"


class Reason(Enum):
    """Why a run failed."""

    NEVER_ARRIVED = "never arrived"
    WRONG_ROOM = "wrong room"
    WRONG_OBJECT = "wrong object"
    NEVER_CLOSED = "never closed the gripper"
    CLOSED_ON_NOTHING = "closed on nothing"
    DROPPED = "dropped"
    NEVER_OPENED = "never opened the gripper"
    NOT_MOVED = "did not move the drawer"
    DID_NOT_STAY = "did not stay"


@dataclass(frozen=True)
class Run:
    """What happened in a run that failed."""

    last: Truth
    """The last moment."""
    arrived: bool
    """The robot was near the target at some time."""
    reached: bool
    """The goal was achieved at some time, but not for long enough or not while standing."""
    held: frozenset[str]
    """Everything that was in the gripper at some time."""
    closed_there: bool
    """The gripper was told to close near the target."""


class Goal(Protocol):
    """One thing to achieve in one scene."""

    @property
    def aim(self) -> Aim:
        """What the expert has to do for it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What the instruction may name: room, object, furniture, as far as they are true in the scene."""

    def stands(self, scene: Scene) -> Sequence[Point]:
        """Return the points where the robot can achieve it, none if the scene has none."""

    def target(self, scene: Scene, truth: Truth | None = None) -> tuple[float, float, float]:
        """Return the point that the instruction is about [m]: now, or at the start without a truth."""

    def distance(self, scene: Scene, truth: Truth) -> float:
        """Return how far the robot's centre is from the target [m]."""

    def reached(self, scene: Scene, truth: Truth) -> bool:
        """Return True if it is achieved at this moment, whether the robot stands or not."""

    def failure(self, scene: Scene, run: Run) -> Reason:
        """Return why a run failed."""


class Task(Protocol):
    """Something that can be asked for in many scenes."""

    @property
    def name(self) -> str:
        """Name in the collection plan, which has its category and wordings."""

    @property
    def only(self) -> str:
        """What its only goal is about; empty where it can have several. Tasks with the same one share no scene."""

    @property
    def far(self) -> bool:
        """True if the robot starts outside the room of the target: the way there is part of the task."""

    @property
    def time_limit_s(self) -> float:
        """How long a trial may take [s]."""

    def needs(self) -> Needs:
        """Return what it needs of a scene and of the start."""

    def goals(self, scene: Scene) -> Sequence[Goal]:
        """Return the goals that it can have in a scene, none if it cannot be done there."""
