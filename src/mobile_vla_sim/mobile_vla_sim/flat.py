"""The floor plan: rooms, walls, furniture and where objects may stand. Data only; metres in the world frame.

x points east (right in the ceiling camera's image), y north (up). The four rooms meet in a foyer in the middle::

    +-----------+-----------+   y = 3
    | counter   |   sofa    |
    |  kitchen  |  living   |
    |         +---+  room   |   y = 1.3
    | table   |   |         |
    +---------  f  ---------+   y = 0
    | tub     |   |         |
    |         +---+ bedroom |
    | bathroom  | desk  bed |
    +-----------+-----------+   y = -3
"""

from __future__ import annotations

from dataclasses import dataclass

HALF_SIZE_M = 3.0
"""Half the inner edge of the square flat."""
WALL_M = 0.1
"""Thickness of every wall."""
WALL_HEIGHT_M = 0.4
"""Low enough that the ceiling camera sees the floor behind every wall."""
FOYER_HALF_X_M, FOYER_HALF_Y_M = 0.65, 1.3

ROBOT_RADIUS_M = 0.3

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Rect:
    """An axis-aligned rectangle, ``x0 < x1`` and ``y0 < y1`` [m]."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) [m]."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Edges along x and y [m]."""
        return self.x1 - self.x0, self.y1 - self.y0

    def contains(self, x: float, y: float) -> bool:
        """Whether (x, y) lies inside."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1

    def grown(self, by_m: float) -> Rect:
        """The rectangle with every edge moved outwards by ``by_m``."""
        return Rect(self.x0 - by_m, self.y0 - by_m, self.x1 + by_m, self.y1 + by_m)


def _centred(x: float, y: float, size_x: float, size_y: float) -> Rect:
    return Rect(x - size_x / 2, y - size_y / 2, x + size_x / 2, y + size_y / 2)


@dataclass(frozen=True)
class Room:
    """A room: where it is, where a robot that was sent there must end, and what its floor looks like."""

    name: str
    area: Rect
    goal_region: Rect
    """A robot has arrived when its centre is in here: the room without the strip by the doorway."""
    goal: tuple[float, float]
    """Where the expert stops: free floor in the middle of the room."""
    floor: Colour
    pattern: str
    """``tiles`` or ``planks``."""


def _quadrant(right: bool, top: bool) -> tuple[Rect, Rect]:
    """Area and goal region of the room in one quadrant; the region leaves out the metre next to the foyer's middle."""
    x0, x1 = (0.0, HALF_SIZE_M) if right else (-HALF_SIZE_M, 0.0)
    y0, y1 = (0.0, HALF_SIZE_M) if top else (-HALF_SIZE_M, 0.0)
    return Rect(x0, y0, x1, y1), Rect(max(x0, 1.0) if right else x0, y0, x1 if right else min(x1, -1.0), y1)


ROOMS: dict[str, Room] = {
    room.name: room
    for room in (
        Room("kitchen", *_quadrant(False, True), (-1.7, 1.35), (0.95, 0.83, 0.48), "tiles"),
        Room("living_room", *_quadrant(True, True), (1.7, 1.3), (0.56, 0.70, 0.42), "planks"),
        Room("bedroom", *_quadrant(True, False), (1.7, -1.1), (0.50, 0.53, 0.80), "planks"),
        Room("bathroom", *_quadrant(False, False), (-1.6, -1.2), (0.55, 0.83, 0.86), "tiles"),
    )
}

FOYER = Rect(-FOYER_HALF_X_M, -FOYER_HALF_Y_M, FOYER_HALF_X_M, FOYER_HALF_Y_M)


def room_at(x: float, y: float) -> str:
    """Name of the room in which (x, y) lies; empty in the foyer and outside the flat."""
    if FOYER.contains(x, y):
        return ""
    return next((room.name for room in ROOMS.values() if room.area.contains(x, y)), "")


def _walls() -> tuple[Rect, ...]:
    h, t, fx, fy = HALF_SIZE_M, WALL_M, FOYER_HALF_X_M, FOYER_HALF_Y_M
    half = t / 2
    outer = (
        Rect(-h - t, h, h + t, h + t),
        Rect(-h - t, -h - t, h + t, -h),
        Rect(-h - t, -h, -h, h),
        Rect(h, -h, h + t, h),
    )
    inner = (
        Rect(-half, fy, half, h),
        Rect(-half, -h, half, -fy),
        Rect(-fx, fy - half, fx, fy + half),
        Rect(-fx, -fy - half, fx, -fy + half),
        Rect(-h, -half, -fx, half),
        Rect(fx, -half, h, half),
    )
    return outer + inner


WALLS: tuple[Rect, ...] = _walls()


@dataclass(frozen=True)
class Furniture:
    """One piece of furniture: its kind decides its shape, ``height_m`` the surface that objects stand on."""

    kind: str
    room: str
    footprint: Rect
    height_m: float


FURNITURE: tuple[Furniture, ...] = (
    Furniture("counter", "kitchen", Rect(-2.98, 2.52, -0.6, 2.98), 0.36),
    Furniture("table", "kitchen", _centred(-2.45, 0.48, 0.9, 0.7), 0.34),
    Furniture("chair", "kitchen", _centred(-1.72, 0.42, 0.38, 0.38), 0.22),
    Furniture("sofa", "living_room", Rect(0.85, 2.25, 2.65, 2.98), 0.22),
    Furniture("table", "living_room", Rect(1.35, 0.08, 2.75, 0.42), 0.24),
    Furniture("bed", "bedroom", Rect(1.6, -2.98, 2.98, -1.75), 0.26),
    Furniture("desk", "bedroom", Rect(0.12, -2.98, 1.2, -2.42), 0.34),
    Furniture("chair", "bedroom", _centred(0.62, -2.15, 0.38, 0.38), 0.22),
    Furniture("bathtub", "bathroom", Rect(-2.98, -2.98, -2.28, -1.3), 0.3),
    Furniture("toilet", "bathroom", Rect(-1.55, -2.98, -1.13, -2.38), 0.24),
    Furniture("basin", "bathroom", Rect(-2.7, -0.5, -2.0, -0.08), 0.32),
)

OBJECTS: tuple[str, ...] = ("cup", "book", "phone", "remote", "bottle")

#: Surfaces on which objects stand, as (x, y, height of the surface) [m].
OBJECT_SPOTS: tuple[tuple[float, float, float], ...] = (
    (-2.65, 0.58, 0.34),
    (-2.25, 0.42, 0.34),
    (-1.4, 2.72, 0.36),
    (1.2, 2.5, 0.22),
    (1.65, 0.25, 0.24),
    (2.45, 0.25, 0.24),
    (0.42, -2.72, 0.34),
    (0.95, -2.72, 0.34),
    (2.1, -2.1, 0.26),
)

OBSTACLES: tuple[Rect, ...] = WALLS + tuple(piece.footprint for piece in FURNITURE)
"""Everything that stops the robot's base."""


def is_free(x: float, y: float, clearance_m: float) -> bool:
    """Whether a disc of radius ``clearance_m`` around (x, y) touches nothing (corners counted as square)."""
    inside = abs(x) <= HALF_SIZE_M and abs(y) <= HALF_SIZE_M
    return inside and not any(rect.grown(clearance_m).contains(x, y) for rect in OBSTACLES)
