"""A scene: the flat, its contents, and the start of a run. Same seed and needs, same scene, on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

import cv2
import numpy as np

from mobile_vla_sim.world.furniture import (
    DRAWER_TRAVEL_M,
    HANDLE_M,
    NoRoomError,
    Piece,
    draw_furniture,
    front_zone,
)
from mobile_vla_sim.world.geometry import Rect
from mobile_vla_sim.world.objects import OBJECT_KINDS, OBJECTS, NoPlaceError, Placement, draw_placement
from mobile_vla_sim.world.planner import CLEARANCE_M, ROBOT_RADIUS_M
from mobile_vla_sim.world.plans import COLLECTION_FAMILIES, HALF_SIZE_M, HELD_OUT_FAMILIES, Plan, draw_plan

LIGHTINGS = ("day", "night", "artificial")


class Stream(IntEnum):
    """Purpose of a scene. The stream is part of the scene's seed: no trial can start from a collected scene."""

    MANUAL = 0
    COLLECTION = 1
    LIVE_COLLECTION = 2
    EVALUATION = 3


def scene_seed(stream: Stream, seed: int, index: int) -> int:
    """Return the seed of scene ``index`` in the series ``seed`` of a stream; distinct for distinct arguments, int64.

    Raises:
        ValueError: ``seed`` is not in 0 .. 2^28 - 1 or ``index`` not in 0 .. 2^28 - 1.
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 1 << 28:
            raise ValueError(f"{name} {value} is outside 0 .. {(1 << 28) - 1}")
    return int(stream) << 56 | seed << 28 | index


def families_of(seed: int) -> tuple[str, ...]:
    """Return the families of floor plans that a seed may draw: the held-out ones for trials, the others otherwise."""
    return HELD_OUT_FAMILIES if seed >> 56 == Stream.EVALUATION else COLLECTION_FAMILIES


@dataclass(frozen=True)
class Needs:
    """Requirements of a task on a scene."""

    cabinet_room: str = ""
    """Room of the cabinet; empty: any."""
    drawer_open: bool | None = None
    """None: either."""
    holding: bool | None = None
    """The robot starts with an object in its gripper; None: as another task requires."""
    rooms: tuple[tuple[str, str], ...] = ()
    """(object, room) pairs that must hold."""

    def merged(self, other: Needs) -> Needs | None:
        """Return the needs of both, or None where they contradict each other."""
        clash = (
            (None not in (self.holding, other.holding) and self.holding != other.holding)
            or (self.cabinet_room and other.cabinet_room and self.cabinet_room != other.cabinet_room)
            or (None not in (self.drawer_open, other.drawer_open) and self.drawer_open != other.drawer_open)
        )
        if clash:
            return None
        return Needs(
            self.cabinet_room or other.cabinet_room,
            other.drawer_open if self.drawer_open is None else self.drawer_open,
            other.holding if self.holding is None else self.holding,
            tuple(dict.fromkeys((*self.rooms, *other.rooms))),
        )


@dataclass(frozen=True)
class Scene:
    """One reproducible start."""

    seed: int
    plan: Plan
    pieces: tuple[Piece, ...]
    objects: tuple[Placement, ...]
    """Every object, the held one included."""
    held: str
    """Object in the gripper at the start; empty: none."""
    drawer_open: bool
    lighting: str
    tint: tuple[float, float, float]
    """Factors on red, green and blue of all light."""
    shades: tuple[float, ...]
    """0 .. 1, one for each room's floor and one for the walls."""
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Robot x [m], y [m], yaw [rad]."""
    room_points: dict[str, tuple[float, float]] = field(default_factory=dict, compare=False)
    """For each room the middle of its largest free floor, where a robot that was sent there should stop."""

    @property
    def start_room(self) -> str:
        """Room in which the robot starts; empty in a hall."""
        return self.plan.room_at(*self.start[:2])

    def piece(self, kind: str) -> Piece:
        """Return the piece of furniture of a kind."""
        return next(piece for piece in self.pieces if piece.kind == kind)

    def object(self, name: str) -> Placement:
        """Return where an object starts."""
        return next(item for item in self.objects if item.name == name)

    @cached_property
    def solids(self) -> tuple[Rect, ...]:
        """Walls and furniture, which stop the robot."""
        return self.plan.walls + tuple(piece.footprint for piece in self.pieces)

    @cached_property
    def obstacles(self) -> tuple[Rect, ...]:
        """Obstacles that the robot's base must not touch at the start."""
        lying = [Rect.around(o.x, o.y, 0, 0).grown(_floor_size(o)) for o in self.objects if self.on_floor(o.name)]
        return self.solids + ((self.drawer,) if self.drawer_open else ()) + tuple(lying)

    def on_floor(self, name: str) -> bool:
        """Return True if an object starts on the floor."""
        item = self.object(name)
        return item.name != self.held and item.z == 0.0

    @property
    def drawer(self) -> Rect:
        """Floor under the open drawer and its handle."""
        return front_zone(self.piece("cabinet"), DRAWER_TRAVEL_M + HANDLE_M)

    def with_start(self, x: float, y: float, yaw: float) -> Scene:
        """Return the scene with another start."""
        return replace(self, start=(x, y, yaw))


def _floor_size(item: Placement) -> float:
    kind = OBJECT_KINDS[item.name]
    return kind.half_x_m if kind.round else 0.9 * kind.radius_m


def draw_base(random: np.random.Generator, seed: int, needs: Needs, family: str) -> Scene | None:
    """Draw everything but the start; None if the draw is impossible and must be repeated."""
    plan = draw_plan(random, family)
    try:
        pieces = draw_furniture(random, plan, needs.cabinet_room)
        objects, held = _draw_objects(random, plan, pieces, needs)
    except (NoRoomError, NoPlaceError):
        return None
    tint = tuple(float(value) for value in random.uniform(0.94, 1.06, size=3))
    scene = Scene(
        seed,
        plan,
        pieces,
        objects,
        held,
        bool(random.random() < 0.15) if needs.drawer_open is None else needs.drawer_open,
        str(random.choice(LIGHTINGS)),
        (tint[0], tint[1], tint[2]),
        tuple(float(value) for value in random.uniform(size=5)),
    )
    points = _room_points(scene)
    return None if points is None else replace(scene, room_points=points)


def _draw_objects(
    random: np.random.Generator, plan: Plan, pieces: Sequence[Piece], needs: Needs
) -> tuple[tuple[Placement, ...], str]:
    keep_clear = [
        *(door.grown(0.65) for door in plan.doors),
        front_zone(next(piece for piece in pieces if piece.kind == "cabinet"), 1.1),
    ]
    rooms = dict(needs.rooms)
    held = str(random.choice(OBJECTS)) if needs.holding else ""
    placed: list[Placement] = []
    for name in sorted(OBJECTS, key=lambda name: name not in rooms):
        if name != held:
            placed.append(draw_placement(random, plan, pieces, placed, keep_clear, name, rooms.get(name, "")))
    if held:
        placed.append(Placement(held, 0.0, 0.0, 0.0, 0.0, "", "", float(random.uniform())))
    return tuple(sorted(placed, key=lambda item: OBJECTS.index(item.name))), held


_CELL_M = 0.05


def _room_points(scene: Scene) -> dict[str, tuple[float, float]] | None:
    """Return the most open spot of each room, or None where the free floor is not connected."""
    edges = np.arange(-HALF_SIZE_M + _CELL_M / 2, HALF_SIZE_M, _CELL_M)
    x, y = np.meshgrid(edges, edges)
    free = np.ones(x.shape, dtype=np.uint8)
    for rect in scene.obstacles:
        grown = rect.grown(CLEARANCE_M)
        free[(x > grown.x0) & (x < grown.x1) & (y > grown.y0) & (y < grown.y1)] = 0
    count, labels = cv2.connectedComponents(free, connectivity=4)
    sizes = np.bincount(labels[labels > 0], minlength=count)
    connected = labels == int(sizes.argmax())
    distance = cv2.distanceTransform(np.pad(connected.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1] * _CELL_M
    points = {}
    for room in scene.plan.rooms:
        inside = _goal_mask(scene.plan, room.name, x, y)
        depth = np.where(inside & connected, distance, 0.0)
        if depth.max() < 0.1:
            return None
        # The most open spot, where two are nearly alike the one nearer to the middle of the room.
        cx, cy = room.area.centre
        score = np.minimum(depth, 0.45) - 0.12 * np.hypot(x - cx, y - cy)
        score[depth <= 0.0] = -np.inf
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        points[room.name] = (float(edges[column]), float(edges[row]))
    return points


FROM_DOOR_M = 0.45
"""A robot has entered a room when its centre is this far from every doorway and wall line of the room."""


def _goal_mask(plan: Plan, room: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    area = plan.room(room).area
    mask = (x > area.x0) & (x < area.x1) & (y > area.y0) & (y < area.y1)
    for hall in plan.halls:
        mask &= ~((x > hall.x0) & (x < hall.x1) & (y > hall.y0) & (y < hall.y1))
    for door in plan.doors:
        # A little deeper than the test of success asks for.
        near = door.grown(FROM_DOOR_M + 0.12)
        mask &= ~((x > near.x0) & (x < near.x1) & (y > near.y0) & (y < near.y1))
    return mask


def in_goal_region(plan: Plan, room: str, x: float, y: float) -> bool:
    """Return True if a robot at (x, y) is well inside a room: in it and not in one of its doorways."""
    return plan.room_at(x, y) == room and not any(door.grown(FROM_DOOR_M).contains(x, y) for door in plan.doors)


def is_free(obstacles: Sequence[Rect], x: float, y: float, clearance_m: float) -> bool:
    """Return True if a disc of radius ``clearance_m`` around (x, y) touches no obstacle."""
    inside = abs(x) <= HALF_SIZE_M and abs(y) <= HALF_SIZE_M
    return inside and not any(rect.distance(x, y) < clearance_m for rect in obstacles)


START_CLEARANCE_M = ROBOT_RADIUS_M + 0.06
