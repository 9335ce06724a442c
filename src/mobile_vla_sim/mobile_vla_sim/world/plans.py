"""Floor plans drawn from a seed: the shape of the partitions, and which room is where.

x points east (right in the ceiling camera's image), y north (up), the origin is the middle of the square flat. A
*family* is a way to partition the flat. Within a family lengths and doorways vary; the plan is then turned and
mirrored at random and the four rooms are assigned to its four places in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mobile_vla_sim.world.geometry import Rect, Symmetry

HALF_SIZE_M = 2.7
"""Half the inner edge of the square flat."""
WALL_M = 0.1
"""Thickness of every wall."""
WALL_HEIGHT_M = 0.32
"""Low enough that the ceiling camera sees the floor behind every wall."""

ROOMS: tuple[str, ...] = ("kitchen", "living_room", "bedroom", "bathroom")

_H = HALF_SIZE_M


@dataclass(frozen=True)
class Room:
    """A room: its name and the rectangle between the middles of its walls."""

    name: str
    area: Rect


@dataclass(frozen=True)
class Plan:
    """A floor plan: four rooms, the halls between them, walls, and doorways."""

    family: str
    rooms: tuple[Room, ...]
    halls: tuple[Rect, ...]
    """Floor that belongs to no room; it takes precedence where it overlaps a room's rectangle."""
    walls: tuple[Rect, ...]
    doors: tuple[Rect, ...]
    """Gaps in walls, each as the missing piece of wall."""

    def room(self, name: str) -> Room:
        """Return the room called ``name``."""
        return next(room for room in self.rooms if room.name == name)

    def room_at(self, x: float, y: float) -> str:
        """Return the name of the room in which (x, y) lies; empty in a hall and outside the flat."""
        if any(hall.contains(x, y) for hall in self.halls):
            return ""
        return next((room.name for room in self.rooms if room.area.contains(x, y)), "")


@dataclass(frozen=True)
class _Layout:
    """A plan before it is turned and its rooms are assigned."""

    places: tuple[Rect, Rect, Rect, Rect]
    halls: tuple[Rect, ...]
    walls: tuple[Rect, ...]
    doors: tuple[Rect, ...]


Gap = tuple[float, float]


def _along_x(y: float, x0: float, x1: float, *gaps: Gap) -> tuple[list[Rect], list[Rect]]:
    """Return walls and doors of a wall at height ``y`` from ``x0`` to ``x1`` with gaps in it."""
    half = WALL_M / 2
    edges = [x0, *(edge for gap in sorted(gaps) for edge in gap), x1]
    walls = [Rect(a, y - half, b, y + half) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1e-6]
    return walls, [Rect(a, y - half, b, y + half) for a, b in gaps]


def _along_y(x: float, y0: float, y1: float, *gaps: Gap) -> tuple[list[Rect], list[Rect]]:
    walls, doors = _along_x(x, y0, y1, *gaps)
    swap = Symmetry(True, False, False)
    return [swap.rect(rect) for rect in walls], [swap.rect(rect) for rect in doors]


def _join(parts: Iterable[tuple[list[Rect], list[Rect]]]) -> tuple[tuple[Rect, ...], tuple[Rect, ...]]:
    walls: list[Rect] = []
    doors: list[Rect] = []
    for some_walls, some_doors in parts:
        walls += some_walls
        doors += some_doors
    return tuple(walls), tuple(doors)


def _door(random: np.random.Generator, low: float, high: float) -> Gap:
    """Return a doorway somewhere between ``low`` and ``high``, its frame at least 0.12 m from both."""
    width = min(float(random.uniform(0.88, 1.1)), high - low - 0.24)
    start = float(random.uniform(low + 0.12, high - 0.12 - width))
    return start, start + width


def _foyer(random: np.random.Generator) -> _Layout:
    """Four rooms around a foyer in the middle that opens to the left and right."""
    fx, fy = float(random.uniform(0.52, 0.68)), float(random.uniform(1.0, 1.25))
    top, bottom = (float(random.uniform(-0.3, 0.3)) for _ in range(2))
    left, right = (float(random.uniform(-0.12, 0.12)) for _ in range(2))
    walls, _ = _join(
        (
            _along_x(fy, -fx, fx),
            _along_x(-fy, -fx, fx),
            _along_y(top, fy, _H),
            _along_y(bottom, -_H, -fy),
            _along_x(left, -_H, -fx),
            _along_x(right, fx, _H),
        )
    )
    half = WALL_M / 2
    doors = tuple(
        Rect(x - half, low, x + half, high)
        for x, middle in ((-fx, left), (fx, right))
        for low, high in ((-fy + half, middle - half), (middle + half, fy - half))
    )
    places = (
        Rect(-_H, left, top, _H),
        Rect(top, right, _H, _H),
        Rect(bottom, -_H, _H, right),
        Rect(-_H, -_H, bottom, left),
    )
    return _Layout(places, (Rect(-fx, -fy, fx, fy),), walls, doors)


def _corridor(random: np.random.Generator) -> _Layout:
    """A corridor through the flat, two rooms on each side."""
    width, middle = float(random.uniform(0.86, 1.02)), float(random.uniform(-0.12, 0.12))
    low, high = middle - width / 2, middle + width / 2
    above, below = (float(random.uniform(-0.35, 0.35)) for _ in range(2))
    walls, doors = _join(
        (
            _along_x(high, -_H, _H, _door(random, -_H, above), _door(random, above, _H)),
            _along_x(low, -_H, _H, _door(random, -_H, below), _door(random, below, _H)),
            _along_y(above, high, _H),
            _along_y(below, -_H, low),
        )
    )
    places = (
        Rect(-_H, high, above, _H),
        Rect(above, high, _H, _H),
        Rect(below, -_H, _H, low),
        Rect(-_H, -_H, below, low),
    )
    return _Layout(places, (Rect(-_H, low, _H, high),), walls, doors)


def _cross(random: np.random.Generator) -> _Layout:
    """Four rooms in a ring, a door between every two neighbours."""
    across = float(random.uniform(-0.3, 0.3))
    left, right = (float(random.uniform(-0.35, 0.35)) for _ in range(2))
    top, bottom = max(left, right), min(left, right)
    walls, doors = _join(
        (
            _along_y(across, -_H, _H, _door(random, -_H, bottom), _door(random, top, _H)),
            _along_x(left, -_H, across, _door(random, -_H, across)),
            _along_x(right, across, _H, _door(random, across, _H)),
        )
    )
    places = (
        Rect(-_H, left, across, _H),
        Rect(across, right, _H, _H),
        Rect(across, -_H, _H, right),
        Rect(-_H, -_H, across, left),
    )
    return _Layout(places, (), walls, doors)


def _open(random: np.random.Generator) -> _Layout:
    """An open flat: four stubs of wall that stop short of the middle."""
    x, y = (float(random.uniform(-0.25, 0.25)) for _ in range(2))
    stubs = [float(random.uniform(1.0, 1.5)) for _ in range(4)]
    gaps = ((-_H + stubs[0], _H - stubs[1]), (-_H + stubs[2], _H - stubs[3]))
    walls, doors = _join((_along_x(y, -_H, _H, gaps[0]), _along_y(x, -_H, _H, gaps[1])))
    places = (Rect(-_H, y, x, _H), Rect(x, y, _H, _H), Rect(x, -_H, _H, y), Rect(-_H, -_H, x, y))
    return _Layout(places, (), walls, doors)


def _pinwheel(random: np.random.Generator) -> _Layout:
    """Four long rooms around a small square hall like the sails of a windmill."""
    s = float(random.uniform(0.56, 0.68))
    gap = _door(random, -s - 0.05, s + 0.05)
    walls, doors = _join(
        (
            _along_x(s, -_H, s, gap),
            _along_x(-s, -s, _H, gap),
            _along_y(s, -s, _H, gap),
            _along_y(-s, -_H, s, gap),
        )
    )
    places = (Rect(-_H, s, s, _H), Rect(s, -s, _H, _H), Rect(-s, -_H, _H, -s), Rect(-_H, -_H, -s, s))
    return _Layout(places, (Rect(-s, -s, s, s),), walls, doors)


def _hub(random: np.random.Generator) -> _Layout:
    """One long room from which the three others are entered."""
    x = float(random.uniform(-0.35, -0.05))
    first, second = float(random.uniform(-0.95, -0.85)), float(random.uniform(0.85, 0.95))
    gaps = (_door(random, -_H, first), _door(random, first, second), _door(random, second, _H))
    walls, doors = _join((_along_y(x, -_H, _H, *gaps), _along_x(first, x, _H), _along_x(second, x, _H)))
    places = (
        Rect(-_H, -_H, x, _H),
        Rect(x, second, _H, _H),
        Rect(x, first, _H, second),
        Rect(x, -_H, _H, first),
    )
    return _Layout(places, (), walls, doors)


_LAYOUTS: dict[str, Callable[[np.random.Generator], _Layout]] = {
    "foyer": _foyer,
    "corridor": _corridor,
    "cross": _cross,
    "open": _open,
    "pinwheel": _pinwheel,
    "hub": _hub,
}

COLLECTION_FAMILIES: tuple[str, ...] = ("foyer", "corridor", "cross", "open")
"""Families that demonstrations are collected on."""
HELD_OUT_FAMILIES: tuple[str, ...] = ("pinwheel", "hub")
"""Families that trials run on; nothing is ever collected on them."""
FAMILIES: tuple[str, ...] = COLLECTION_FAMILIES + HELD_OUT_FAMILIES


def draw_plan(random: np.random.Generator, family: str) -> Plan:
    """Draw a floor plan of ``family``."""
    layout = _LAYOUTS[family](random)
    symmetry = Symmetry(*(bool(random.integers(2)) for _ in range(3)))
    names = [ROOMS[index] for index in random.permutation(len(ROOMS))]
    rooms = tuple(Room(name, symmetry.rect(place)) for name, place in zip(names, layout.places, strict=True))
    outer = (
        Rect(-_H - WALL_M, _H, _H + WALL_M, _H + WALL_M),
        Rect(-_H - WALL_M, -_H - WALL_M, _H + WALL_M, -_H),
        Rect(-_H - WALL_M, -_H, -_H, _H),
        Rect(_H, -_H, _H + WALL_M, _H),
    )
    return Plan(
        family,
        rooms,
        tuple(symmetry.rect(hall) for hall in layout.halls),
        outer + tuple(symmetry.rect(wall) for wall in layout.walls),
        tuple(symmetry.rect(door) for door in layout.doors),
    )
