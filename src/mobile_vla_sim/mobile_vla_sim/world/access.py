"""Places where a robot can stand to reach something with its arm."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M, HANDLE_M, Piece
from mobile_vla_sim.world.geometry import FACINGS, Rect
from mobile_vla_sim.world.planner import ROBOT_RADIUS_M
from mobile_vla_sim.world.scene import Scene, is_free

NOMINAL_REACH_M = 0.42
"""From the robot's centre to its gripper, arm at rest."""
REACH_M = (0.2, 0.6)
"""Least and most distance from the robot's centre at which the arm grasps."""
STAND_CLEARANCE_M = ROBOT_RADIUS_M + 0.05

Point = tuple[float, float]


def stands_for_object(scene: Scene, name: str) -> list[Point]:
    """Return the points from which the arm reaches an object with the best aim."""
    item = scene.object(name)
    x, y = item.x, item.y
    if item.furniture:
        candidates = [
            (point, math.hypot(point[0] - x, point[1] - y))
            for point in _beside(scene.piece(item.furniture), x, y, spread=1)
        ]
        found = [point for point, distance in candidates if distance <= REACH_M[1] - 0.06]
    else:
        found = [
            (x + NOMINAL_REACH_M * math.cos(angle), y + NOMINAL_REACH_M * math.sin(angle))
            for angle in (math.tau * index / 16 for index in range(16))
        ]
    obstacles = scene.obstacles
    return [point for point in found if is_free(obstacles, *point, STAND_CLEARANCE_M) and sees(scene, point, (x, y))]


def stands_for_placing(scene: Scene, kind: str) -> list[tuple[Point, Point]]:
    """Return (stand, spot) pairs: a place to stand, and the place where an object set down from there rests."""
    piece = scene.piece(kind)
    top = piece.footprint.grown(-0.1)
    others = [(item.x, item.y) for item in scene.objects if item.furniture == kind and item.name != scene.held]
    pairs: list[tuple[Point, Point]] = []
    for facing in FACINGS:
        for stand in _along_side(piece.footprint, facing):
            spot = (stand[0] - facing[0] * NOMINAL_REACH_M, stand[1] - facing[1] * NOMINAL_REACH_M)
            near = any(math.hypot(spot[0] - x, spot[1] - y) < 0.33 for x, y in others)
            if top.contains(*spot) and not near and is_free(scene.obstacles, *stand, STAND_CLEARANCE_M):
                pairs.append((stand, spot))
    return pairs


def stands_at(scene: Scene, kind: str) -> list[Point]:
    """Return points beside a piece of furniture."""
    piece = scene.piece(kind)
    points = [point for facing in FACINGS for point in _along_side(piece.footprint, facing)]
    return [point for point in points if is_free(scene.obstacles, *point, STAND_CLEARANCE_M)]


def handle_of(scene: Scene, opening_m: float) -> Point:
    """Return where the drawer's handle is when the drawer is ``opening_m`` open."""
    cabinet = scene.piece("cabinet")
    (dx, dy), rect = cabinet.front, cabinet.footprint
    x, y = rect.centre
    half = rect.size[0] / 2 if dx else rect.size[1] / 2
    along = half + opening_m + HANDLE_M
    return x + dx * along, y + dy * along


def stand_at_handle(scene: Scene, opening_m: float) -> Point:
    """Return where to stand to grip the drawer's handle."""
    (dx, dy), (x, y) = scene.piece("cabinet").front, handle_of(scene, opening_m)
    return x + dx * NOMINAL_REACH_M, y + dy * NOMINAL_REACH_M


def sees(scene: Scene, start: Point, end: Point) -> bool:
    """Return True if no wall lies between two points."""
    count = 2 + int(math.hypot(end[0] - start[0], end[1] - start[1]) / 0.04)
    for index in range(count):
        share = index / (count - 1)
        x, y = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
        if any(wall.contains(x, y) for wall in scene.plan.walls):
            return False
    return True


def drawer_opening(is_open: bool) -> float:
    """Return how far out the drawer is at the start [m]."""
    return DRAWER_TRAVEL_M if is_open else 0.0


def _beside(piece: Piece, x: float, y: float, spread: int) -> Iterator[Point]:
    """Points in front of each side of a piece, level with (x, y) or a little beside it."""
    rect = piece.footprint
    away = STAND_CLEARANCE_M + 0.01
    for step in range(-spread, spread + 1):
        shift = 0.12 * step
        yield x + shift, rect.y0 - away
        yield x + shift, rect.y1 + away
        yield rect.x0 - away, y + shift
        yield rect.x1 + away, y + shift


def _along_side(rect: Rect, facing: tuple[int, int]) -> Iterator[Point]:
    """Points every few centimetres along one side of a rectangle, at standing distance."""
    dx, dy = facing
    away = STAND_CLEARANCE_M + 0.01
    low, high = (rect.y0, rect.y1) if dx else (rect.x0, rect.x1)
    edge = (rect.x1 if dx > 0 else rect.x0) if dx else (rect.y1 if dy > 0 else rect.y0)
    count = max(1, int((high - low - 0.2) / 0.08))
    for index in range(count + 1):
        along = low + 0.1 + (high - low - 0.2) * index / count
        fixed = edge + (dx or dy) * away
        yield (fixed, along) if dx else (along, fixed)
