"""A goal: one thing to achieve in one scene, and where a robot stands to achieve it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mobile_vla_sim.world.access import (
    Point,
    drawer_opening,
    handle_of,
    stand_at_handle,
    stands_at,
    stands_for_object,
    stands_for_placing,
)
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.scene import Scene


class Aim(Enum):
    """What a goal is about."""

    ROOM = "room"
    APPROACH = "approach"
    GRASP = "grasp"
    PLACE = "place"
    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True)
class Goal:
    """What is to be achieved: an aim and what it is about."""

    aim: Aim
    room: str = ""
    thing: str = ""
    """Object or furniture that is approached, grasped, or carried."""
    surface: str = ""
    """Furniture that something is placed on."""
    environment: dict[str, str] = field(default_factory=dict, compare=False)
    """What the instruction may name: room, object, furniture, as far as they are true in the scene."""

    def stands(self, scene: Scene) -> list[Point]:
        """Return the points where the robot can do it, none if the scene has none."""
        if self.aim is Aim.ROOM:
            return [scene.room_points[self.room]]
        if self.aim in (Aim.APPROACH, Aim.GRASP):
            return stands_for_object(scene, self.thing) if self.thing in OBJECTS else stands_at(scene, self.thing)
        if self.aim is Aim.PLACE:
            return [stand for stand, _ in stands_for_placing(scene, self.surface)]
        return [stand_at_handle(scene, drawer_opening(scene.drawer_open))]

    def target(self, scene: Scene) -> tuple[float, float, float]:
        """Return the point in the world that the goal is about, at the start [m]."""
        if self.aim is Aim.ROOM:
            return (*scene.room_points[self.room], 0.0)
        if self.aim in (Aim.APPROACH, Aim.GRASP) and self.thing in OBJECTS:
            item = scene.object(self.thing)
            return item.x, item.y, item.z
        if self.aim in (Aim.OPEN, Aim.CLOSE):
            return (*handle_of(scene, drawer_opening(scene.drawer_open)), scene.piece("cabinet").height_m)
        piece = scene.piece(self.surface or self.thing)
        return (*piece.footprint.centre, piece.height_m)
