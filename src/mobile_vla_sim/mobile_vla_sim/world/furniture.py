"""Furniture: pieces of each room, their sizes, and their places on a floor plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobile_vla_sim.world.geometry import FACINGS, Rect
from mobile_vla_sim.world.plans import WALL_M, Plan

DRAWER_TRAVEL_M = 0.26
"""Travel of the cabinet's drawer."""
HANDLE_M = 0.05
"""Distance of the drawer's handle from its front."""

SURFACES: tuple[str, ...] = ("table", "chair", "sofa", "bed", "desk")
"""Furniture that instructions name and objects stand on."""


@dataclass(frozen=True)
class Piece:
    """One piece of furniture."""

    kind: str
    room: str
    footprint: Rect
    height_m: float
    """Height of the surface that objects stand on."""
    facing: int
    """Index into ``FACINGS``: direction of its front."""
    shade: float
    """0 .. 1: choice among the colours of its kind."""

    @property
    def front(self) -> tuple[int, int]:
        """Unit vector out of its front."""
        return FACINGS[self.facing]


@dataclass(frozen=True)
class Frame:
    """Coordinates of a piece: ``u`` from its back to its front, ``v`` from its right to its left, both from 0."""

    piece: Piece

    @property
    def depth(self) -> float:
        """From back to front [m]."""
        return self.piece.footprint.size[0 if self.piece.front[0] else 1]

    @property
    def width(self) -> float:
        """From right to left [m]."""
        return self.piece.footprint.size[1 if self.piece.front[0] else 0]

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Return a point in the world."""
        r = self.piece.footprint
        return ((r.x0 + u, r.y0 + v), (r.x1 - v, r.y0 + u), (r.x1 - u, r.y1 - v), (r.x0 + v, r.y1 - u))[
            self.piece.facing
        ]

    def rect(self, u0: float, v0: float, u1: float, v1: float) -> Rect:
        """Return a rectangle in the world."""
        (ax, ay), (bx, by) = self.point(u0, v0), self.point(u1, v1)
        return Rect(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def raised_parts(piece: Piece) -> list[Rect]:
    """Return the parts of a piece that stand up above its surface, where nothing can lie."""
    f = Frame(piece)
    back, side = _RAISED.get(piece.kind, (0.0, 0.0))
    parts = [f.rect(0.0, 0.0, back, f.width)] if back else []
    return parts + ([f.rect(0.0, 0.0, f.depth, side), f.rect(0.0, f.width - side, f.depth, f.width)] if side else [])


@dataclass(frozen=True)
class _Kind:
    """Sizes of a kind: width along its front, depth, height, each as (least, most) [m]."""

    width: tuple[float, float]
    depth: tuple[float, float]
    height_m: float
    at_wall: bool
    front_m: float = 0.0
    """Depth of the free floor in front of it."""


KINDS: dict[str, _Kind] = {
    "counter": _Kind((1.2, 1.6), (0.46, 0.5), 0.30, True, 0.55),
    "table": _Kind((0.75, 0.95), (0.62, 0.74), 0.28, False),
    "chair": _Kind((0.44, 0.44), (0.44, 0.44), 0.2, False),
    "sofa": _Kind((1.15, 1.4), (0.58, 0.64), 0.2, True, 0.4),
    "bed": _Kind((0.85, 0.95), (1.2, 1.35), 0.22, True),
    "desk": _Kind((0.85, 1.05), (0.48, 0.54), 0.3, True, 0.45),
    "cabinet": _Kind((0.62, 0.68), (0.4, 0.44), 0.3, True, DRAWER_TRAVEL_M + HANDLE_M + 0.8),
    "bathtub": _Kind((1.0, 1.2), (0.5, 0.56), 0.26, True),
    "toilet": _Kind((0.36, 0.4), (0.5, 0.54), 0.2, True, 0.3),
    "basin": _Kind((0.48, 0.54), (0.38, 0.4), 0.28, True, 0.3),
}

#: Kind -> width of what stands up at its back (a backrest, a screen) and at its sides (arms) [m].
_RAISED = {"chair": (0.06, 0.0), "sofa": (0.14, 0.11), "bed": (0.05, 0.0), "desk": (0.13, 0.0)}

_DOOR_CLEAR_M = 0.6


class NoRoomError(RuntimeError):
    """The furniture does not fit into the drawn plan; draw another one."""


def draw_furniture(random: np.random.Generator, plan: Plan, cabinet_room: str = "") -> tuple[Piece, ...]:
    """Furnish a plan: one piece of each kind.

    Args:
        random: decides everything.
        plan: floor plan to furnish.
        cabinet_room: room of the cabinet with the drawer; empty: any.

    Raises:
        NoRoomError: a piece found no place.
    """
    wanted = _assign(random, cabinet_room)
    keep_clear = [door_zone(door) for door in plan.doors]
    placed: list[Piece] = []
    for kind, room in wanted:
        near = next((piece for piece in placed if piece.kind == "table" and piece.room == room), None)
        piece = _place(random, plan, kind, room, placed, keep_clear, near if kind == "chair" else None)
        placed.append(piece)
        front_m = KINDS[kind].front_m
        if front_m:
            keep_clear.append(front_zone(piece, front_m))
    return tuple(placed)


def front_zone(piece: Piece, depth_m: float) -> Rect:
    """Return the floor in front of a piece, as wide as it is and ``depth_m`` deep."""
    (dx, dy), rect = piece.front, piece.footprint
    moved = Rect(rect.x0 + dx * depth_m, rect.y0 + dy * depth_m, rect.x1 + dx * depth_m, rect.y1 + dy * depth_m)
    union = Rect(min(rect.x0, moved.x0), min(rect.y0, moved.y0), max(rect.x1, moved.x1), max(rect.y1, moved.y1))
    if dx > 0:
        return Rect(rect.x1, union.y0, union.x1, union.y1)
    if dx < 0:
        return Rect(union.x0, union.y0, rect.x0, union.y1)
    if dy > 0:
        return Rect(union.x0, rect.y1, union.x1, union.y1)
    return Rect(union.x0, union.y0, union.x1, rect.y0)


def _assign(random: np.random.Generator, cabinet_room: str) -> list[tuple[str, str]]:
    """Return (kind, room) of every piece, the large ones first."""
    cabinet = cabinet_room or str(
        random.choice(("bedroom", "living_room", "kitchen", "bathroom"), p=(0.4, 0.3, 0.2, 0.1))
    )
    table = str(random.choice(("kitchen", "living_room")))
    chair = str(random.choice((table, "living_room", "bedroom"), p=(0.5, 0.25, 0.25)))
    desk = str(random.choice(("bedroom", "living_room")))
    return [
        ("bed", "bedroom"),
        ("counter", "kitchen"),
        ("bathtub", "bathroom"),
        ("sofa", "living_room"),
        ("cabinet", cabinet),
        ("desk", desk),
        ("table", table),
        ("toilet", "bathroom"),
        ("basin", "bathroom"),
        ("chair", chair),
    ]


def door_zone(door: Rect) -> Rect:
    """Return the floor on both sides of a doorway that stays free."""
    width, height = door.size
    if width > height:
        return Rect(door.x0 - 0.02, door.y0 - _DOOR_CLEAR_M, door.x1 + 0.02, door.y1 + _DOOR_CLEAR_M)
    return Rect(door.x0 - _DOOR_CLEAR_M, door.y0 - 0.02, door.x1 + _DOOR_CLEAR_M, door.y1 + 0.02)


def _place(
    random: np.random.Generator,
    plan: Plan,
    kind: str,
    room: str,
    placed: Sequence[Piece],
    keep_clear: Sequence[Rect],
    near: Piece | None,
) -> Piece:
    spec = KINDS[kind]
    inside = plan.room(room).area.grown(-WALL_M / 2)
    taken = (
        [piece.footprint.grown(0.06) for piece in placed if piece.room == room] + list(keep_clear) + list(plan.halls)
    )
    for _ in range(80):
        width, depth = (float(random.uniform(*edges)) for edges in (spec.width, spec.depth))
        facing = int(random.integers(4))
        footprint = _try(random, inside, spec, width, depth, facing, near)
        if footprint is None or any(footprint.overlaps(other) for other in taken):
            continue
        piece = Piece(kind, room, footprint, spec.height_m, facing, float(random.uniform()))
        if spec.front_m:
            zone = front_zone(piece, spec.front_m)
            corners_inside = inside.contains(zone.x0, zone.y0) and inside.contains(zone.x1, zone.y1)
            if not corners_inside or any(zone.overlaps(other.footprint) for other in placed if other.room == room):
                continue
        return piece
    raise NoRoomError(f"no place for the {kind} in the {room}")


def _try(
    random: np.random.Generator, inside: Rect, spec: _Kind, width: float, depth: float, facing: int, near: Piece | None
) -> Rect | None:
    """Return a footprint, or None if the room is too small for it in that direction."""
    size_x, size_y = (depth, width) if FACINGS[facing][0] else (width, depth)
    if near is not None:
        return _beside(random, near, size_x, size_y, facing, inside)
    room_x, room_y = inside.size
    if size_x > room_x - 0.02 or size_y > room_y - 0.02:
        return None
    x = float(random.uniform(inside.x0 + 0.01, inside.x1 - 0.01 - size_x))
    y = float(random.uniform(inside.y0 + 0.01, inside.y1 - 0.01 - size_y))
    if spec.at_wall:
        dx, dy = FACINGS[facing]
        x = inside.x0 + 0.01 if dx > 0 else inside.x1 - 0.01 - size_x if dx < 0 else x
        y = inside.y0 + 0.01 if dy > 0 else inside.y1 - 0.01 - size_y if dy < 0 else y
    return Rect(x, y, x + size_x, y + size_y)


def _beside(
    random: np.random.Generator, near: Piece, size_x: float, size_y: float, facing: int, inside: Rect
) -> Rect | None:
    """Return the place of a chair that faces its table."""
    (dx, dy), rect, gap = FACINGS[facing], near.footprint, 0.07
    if dx:
        y = float(random.uniform(rect.y0, max(rect.y0 + 0.01, rect.y1 - size_y)))
        x = rect.x0 - gap - size_x if dx > 0 else rect.x1 + gap
    else:
        x = float(random.uniform(rect.x0, max(rect.x0 + 0.01, rect.x1 - size_x)))
        y = rect.y0 - gap - size_y if dy > 0 else rect.y1 + gap
    found = Rect(x, y, x + size_x, y + size_y)
    return found if inside.contains(found.x0, found.y0) and inside.contains(found.x1, found.y1) else None
