"""The five kinds of goals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobile_vla_data.trials.reasons import Reason
from mobile_vla_sim.tasks.goal import Aim, Run
from mobile_vla_sim.world.access import (
    Point,
    drawer_opening,
    handle_of,
    sees,
    stand_at_handle,
    stands_at,
    stands_for_object,
    stands_for_placing,
)
from mobile_vla_sim.world.arm import HANDLE
from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M, SURFACES
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.scene import Scene, in_goal_region
from mobile_vla_sim.world.world import Truth

NEAR_OBJECT_M, NEAR_FURNITURE_M = 0.65, 0.45
"""A robot has arrived at an object, or at the edge of furniture, when its centre is this near."""
OPEN_SHARE, SHUT_SHARE = 0.7, 0.15
"""A drawer is open from this share of its travel on, and shut up to that one."""

Target = tuple[float, float, float]


@dataclass(frozen=True)
class BeInRoom:
    """The robot is in a room, well away from its doorways."""

    room: str
    aim: Aim = Aim.ROOM

    @property
    def environment(self) -> dict[str, str]:
        return {"room": self.room}

    def stands(self, scene: Scene) -> list[Point]:
        return [scene.room_points[self.room]]

    def target(self, scene: Scene, truth: Truth | None = None) -> Target:
        return (*scene.room_points[self.room], 0.0)

    def distance(self, scene: Scene, truth: Truth) -> float:
        return math.dist((truth.pose.x, truth.pose.y), scene.room_points[self.room])

    def reached(self, scene: Scene, truth: Truth) -> bool:
        return in_goal_region(scene.plan, self.room, truth.pose.x, truth.pose.y)

    def failure(self, scene: Scene, run: Run) -> Reason:
        if run.reached:
            return Reason.DID_NOT_STAY
        room = scene.plan.room_at(run.last.pose.x, run.last.pose.y)
        return Reason.NEVER_ARRIVED if room in ("", scene.start_room, self.room) else Reason.WRONG_ROOM


@dataclass(frozen=True)
class BeNear:
    """The robot is in front of an object or beside a piece of furniture."""

    thing: str
    room: str
    aim: Aim = Aim.APPROACH

    @property
    def environment(self) -> dict[str, str]:
        return {"object": self.thing, "room": self.room}

    def stands(self, scene: Scene) -> list[Point]:
        return stands_for_object(scene, self.thing) if self.thing in OBJECTS else stands_at(scene, self.thing)

    def target(self, scene: Scene, truth: Truth | None = None) -> Target:
        return _object_at(scene, self.thing, truth) if self.thing in OBJECTS else _top_of(scene, self.thing)

    def distance(self, scene: Scene, truth: Truth) -> float:
        x, y = truth.pose.x, truth.pose.y
        if self.thing in OBJECTS:
            return math.dist((x, y), truth.objects[self.thing][:2])
        return scene.piece(self.thing).footprint.distance(x, y)

    def reached(self, scene: Scene, truth: Truth) -> bool:
        here = truth.pose.x, truth.pose.y
        if self.thing in OBJECTS:
            there = truth.objects[self.thing][:2]
            return self.distance(scene, truth) <= NEAR_OBJECT_M and sees(scene, here, there)
        same_room = scene.plan.room_at(*here) == scene.piece(self.thing).room
        return same_room and self.distance(scene, truth) <= NEAR_FURNITURE_M

    def failure(self, scene: Scene, run: Run) -> Reason:
        if run.reached:
            return Reason.DID_NOT_STAY
        others = [BeNear(name, "") for name in (*OBJECTS, *SURFACES) if name not in (self.thing, scene.held)]
        elsewhere = any(other.reached(scene, run.last) for other in others)
        return Reason.WRONG_OBJECT if elsewhere else Reason.NEVER_ARRIVED


@dataclass(frozen=True)
class Hold:
    """The gripper holds an object."""

    thing: str
    room: str
    """Room that the object lies in."""
    furniture: str
    """Furniture that it lies on; empty: the floor."""
    aim: Aim = Aim.GRASP

    @property
    def environment(self) -> dict[str, str]:
        found = {"object": self.thing, "room": self.room}
        return {**found, "furniture": self.furniture} if self.furniture else found

    def stands(self, scene: Scene) -> list[Point]:
        return stands_for_object(scene, self.thing)

    def target(self, scene: Scene, truth: Truth | None = None) -> Target:
        return _object_at(scene, self.thing, truth)

    def distance(self, scene: Scene, truth: Truth) -> float:
        return math.dist((truth.pose.x, truth.pose.y), truth.objects[self.thing][:2])

    def reached(self, scene: Scene, truth: Truth) -> bool:
        return truth.held == self.thing

    def failure(self, scene: Scene, run: Run) -> Reason:
        return _grip_failure(run, self.thing, Reason.DROPPED)


@dataclass(frozen=True)
class PutOn:
    """An object lies on a piece of furniture, and the gripper is empty."""

    thing: str
    surface: str
    room: str
    """Room of the furniture."""
    aim: Aim = Aim.PLACE

    @property
    def environment(self) -> dict[str, str]:
        return {"object": self.thing, "furniture": self.surface, "room": self.room}

    def stands(self, scene: Scene) -> list[Point]:
        return [stand for stand, _ in stands_for_placing(scene, self.surface)]

    def target(self, scene: Scene, truth: Truth | None = None) -> Target:
        return _top_of(scene, self.surface)

    def distance(self, scene: Scene, truth: Truth) -> float:
        return scene.piece(self.surface).footprint.distance(truth.pose.x, truth.pose.y)

    def reached(self, scene: Scene, truth: Truth) -> bool:
        return not truth.held and rests_on(scene, truth, self.thing) == self.surface

    def failure(self, scene: Scene, run: Run) -> Reason:
        if run.last.held:
            return Reason.NEVER_OPENED if run.arrived else Reason.NEVER_ARRIVED
        where = rests_on(scene, run.last, self.thing)
        if where == self.surface:
            return Reason.DID_NOT_STAY
        return Reason.WRONG_OBJECT if where else Reason.DROPPED


@dataclass(frozen=True)
class SlideDrawer:
    """The drawer is open, or shut."""

    open: bool
    room: str
    """Room of the cabinet."""

    @property
    def aim(self) -> Aim:
        return Aim.OPEN if self.open else Aim.CLOSE

    @property
    def environment(self) -> dict[str, str]:
        return {"room": self.room}

    def stands(self, scene: Scene) -> list[Point]:
        return [stand_at_handle(scene, drawer_opening(scene.drawer_open))]

    def target(self, scene: Scene, truth: Truth | None = None) -> Target:
        opening_m = drawer_opening(scene.drawer_open) if truth is None else truth.drawer_m
        return (*handle_of(scene, opening_m), scene.piece("cabinet").height_m)

    def distance(self, scene: Scene, truth: Truth) -> float:
        return math.dist((truth.pose.x, truth.pose.y), self.target(scene, truth)[:2])

    def reached(self, scene: Scene, truth: Truth) -> bool:
        share = truth.drawer_m / DRAWER_TRAVEL_M
        return share >= OPEN_SHARE if self.open else share <= SHUT_SHARE

    def failure(self, scene: Scene, run: Run) -> Reason:
        return _grip_failure(run, HANDLE, Reason.NOT_MOVED)


def rests_on(scene: Scene, truth: Truth, name: str) -> str:
    """Return the kind of furniture that an object rests on; empty: none."""
    x, y, z = truth.objects[name]
    on = (piece.kind for piece in scene.pieces if piece.footprint.contains(x, y) and abs(z - piece.height_m) < 0.05)
    return next(on, "")


def _grip_failure(run: Run, thing: str, gripped: Reason) -> Reason:
    """Return why gripping ``thing`` failed; ``gripped`` is the reason if it was in the gripper."""
    if run.reached and thing == HANDLE:
        return Reason.DID_NOT_STAY
    if run.held - {thing}:
        return Reason.WRONG_OBJECT
    if thing in run.held:
        return gripped
    if not run.arrived:
        return Reason.NEVER_ARRIVED
    return Reason.CLOSED_ON_NOTHING if run.closed_there else Reason.NEVER_CLOSED


def _object_at(scene: Scene, name: str, truth: Truth | None) -> Target:
    if truth is not None:
        return truth.objects[name]
    item = scene.object(name)
    return item.x, item.y, item.z


def _top_of(scene: Scene, kind: str) -> Target:
    piece = scene.piece(kind)
    return (*piece.footprint.centre, piece.height_m)
