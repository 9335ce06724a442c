"""The five objects: sizes, grips, and where they lie in a scene.

They are two to four times as large as real ones, so that each is at least 10 px across in the 224 px image of the
ceiling camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobile_vla_sim.world.furniture import SURFACES, Piece, raised_parts
from mobile_vla_sim.world.geometry import Rect
from mobile_vla_sim.world.plans import HALF_SIZE_M, Plan


@dataclass(frozen=True)
class ObjectKind:
    """Shape of an object: a cylinder or a box, and how the gripper holds it."""

    name: str
    round: bool
    half_x_m: float
    """Half its width; the radius of a round one [m]."""
    half_y_m: float
    height_m: float
    grip: float
    """Gripper position when it closes around the object's grip, 0 open .. 1 closed."""

    @property
    def radius_m(self) -> float:
        """Radius of the circle around it [m]."""
        return self.half_x_m if self.round else math.hypot(self.half_x_m, self.half_y_m)


OBJECT_KINDS: dict[str, ObjectKind] = {
    kind.name: kind
    for kind in (
        ObjectKind("cup", True, 0.14, 0.14, 0.14, 0.85),
        ObjectKind("book", False, 0.14, 0.18, 0.06, 0.8),
        ObjectKind("phone", False, 0.13, 0.2, 0.03, 0.85),
        ObjectKind("remote", False, 0.13, 0.22, 0.05, 0.8),
        ObjectKind("bottle", True, 0.13, 0.13, 0.2, 0.75),
    )
}
OBJECTS: tuple[str, ...] = tuple(OBJECT_KINDS)

APART_M = 0.55
"""Least distance between the centres of two objects."""
_ON_FURNITURE = 0.6
"""Share of objects that lie on furniture."""


@dataclass(frozen=True)
class Placement:
    """Where one object lies at the start of a scene."""

    name: str
    x: float
    y: float
    z: float
    """Height of its foot [m]."""
    yaw: float
    room: str
    furniture: str
    """Kind of the piece it stands on; empty: the floor."""
    shade: float


class NoPlaceError(RuntimeError):
    """An object found no place; draw another scene."""


def draw_placement(
    random: np.random.Generator,
    plan: Plan,
    pieces: Sequence[Piece],
    others: Sequence[Placement],
    keep_clear: Sequence[Rect],
    name: str,
    room: str = "",
) -> Placement:
    """Draw a place for an object, on furniture more often than on the floor.

    Raises:
        NoPlaceError: nothing was found.
    """
    kind = OBJECT_KINDS[name]
    surfaces = [piece for piece in pieces if piece.kind in SURFACES and room in ("", piece.room)]
    high = bool(random.random() < _ON_FURNITURE)
    for attempt in range(80):
        found: Placement | None
        # Where one kind of place is full, the other is tried.
        if surfaces and high == (attempt < 50):
            piece = surfaces[int(random.integers(len(surfaces)))]
            found = _on(random, kind, plan, piece)
        else:
            found = _on_floor(random, kind, plan, pieces, keep_clear, room)
        if found and all(math.hypot(found.x - other.x, found.y - other.y) >= APART_M for other in others):
            return found
    raise NoPlaceError(f"no place for the {name}")


def _on(random: np.random.Generator, kind: ObjectKind, plan: Plan, piece: Piece) -> Placement | None:
    """Draw a place on a surface; None if something stands in the way."""
    rect = piece.footprint
    # Books and the like lie roughly parallel to the edges.
    yaw = float(random.integers(4)) * math.pi / 2 + float(random.normal(0.0, 0.12))
    inset = min(0.15, min(rect.size) / 2)
    x = float(random.uniform(rect.x0 + inset, rect.x1 - inset))
    y = float(random.uniform(rect.y0 + inset, rect.y1 - inset))
    shade = float(random.uniform())
    around = _around(kind, x, y, yaw)
    if any(around.overlaps(rect) for rect in (*raised_parts(piece), *plan.walls)):
        return None
    return Placement(kind.name, x, y, piece.height_m, yaw, piece.room, piece.kind, shade)


def _around(kind: ObjectKind, x: float, y: float, yaw: float) -> Rect:
    """Return the rectangle around a turned object."""
    if kind.round:
        return Rect.around(x, y, 2 * kind.half_x_m, 2 * kind.half_x_m)
    cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
    size_x = 2 * (kind.half_x_m * cos + kind.half_y_m * sin)
    return Rect.around(x, y, size_x, 2 * (kind.half_x_m * sin + kind.half_y_m * cos))


def _on_floor(
    random: np.random.Generator,
    kind: ObjectKind,
    plan: Plan,
    pieces: Sequence[Piece],
    keep_clear: Sequence[Rect],
    room: str,
) -> Placement | None:
    x, y = (float(value) for value in random.uniform(-HALF_SIZE_M + 0.2, HALF_SIZE_M - 0.2, size=2))
    yaw, shade = float(random.uniform(-math.pi, math.pi)), float(random.uniform())
    where = plan.room_at(x, y)
    if not where or room not in ("", where):
        return None
    around = Rect.around(x, y, 0.0, 0.0).grown(kind.radius_m + 0.03)
    solid = [*plan.walls, *(piece.footprint for piece in pieces), *keep_clear]
    if any(around.overlaps(rect) for rect in solid):
        return None
    return Placement(kind.name, x, y, 0.0, yaw, where, "", shade)
