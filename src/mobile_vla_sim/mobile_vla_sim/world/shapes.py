"""Shapes of furniture and objects: boxes and cylinders."""

from __future__ import annotations

from collections.abc import Callable

import mujoco

from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M, HANDLE_M, Frame, Piece
from mobile_vla_sim.world.geometry import Colour, Rect
from mobile_vla_sim.world.objects import OBJECT_KINDS, Placement
from mobile_vla_sim.world.paint import BLACK, DARK_WOOD, MAIN, STEEL, WHITE, WOOD, lighter, pick

STOPS_ROBOT, CARRIES = 1, 2
"""Collision bits. Walls and furniture stop the base; floor and furniture carry objects, and the base pushes them."""


def box(
    body: mujoco.MjsBody,
    rect: Rect,
    bottom: float,
    top: float,
    colour: Colour,
    *,
    solid: int = 0,
    hidden: bool = False,
) -> mujoco.MjsGeom:
    """Add a box over ``rect`` from ``bottom`` to ``top`` [m]; ``solid`` are its collision bits."""
    centre, size = rect.centre, rect.size
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*centre, (bottom + top) / 2],
        size=[size[0] / 2, size[1] / 2, (top - bottom) / 2],
        # Cameras do not see group 4, rays do.
        rgba=[*colour, 1.0],
        group=4 if hidden else 0,
        contype=solid,
        conaffinity=0,
        # Frictionless for the base: pressed against a wall it slides along it, as on wheels.
        condim=1,
        mass=0.0,
    )


def cylinder(
    body: mujoco.MjsBody, x: float, y: float, bottom: float, top: float, radius: float, colour: Colour
) -> mujoco.MjsGeom:
    """Add an upright cylinder at (x, y) from ``bottom`` to ``top`` [m]; nothing collides with it."""
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[x, y, (bottom + top) / 2],
        size=[radius, (top - bottom) / 2, 0.0],
        rgba=[*colour, 1.0],
        contype=0,
        conaffinity=0,
        mass=0.0,
    )


def add_furniture(world: mujoco.MjsBody, piece: Piece) -> None:
    """Add one piece: an invisible solid over its footprint, and its visible parts."""
    box(world, piece.footprint, 0.0, piece.height_m, BLACK, solid=STOPS_ROBOT | CARRIES, hidden=True)
    main = pick(MAIN[piece.kind], piece.shade) if piece.kind in MAIN else WHITE
    _SHAPES[piece.kind](world, Frame(piece), piece.height_m, main)


def _table(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), top - 0.03, top, main)
    box(world, f.rect(0.04, 0.04, d - 0.04, w - 0.04), top, top + 0.002, lighter(main, 1.12))
    for u in (0.0, d - 0.06):
        for v in (0.0, w - 0.06):
            box(world, f.rect(u, v, u + 0.06, v + 0.06), 0.0, top - 0.03, lighter(main, 0.7))


def _chair(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), top - 0.05, top, main)
    box(world, f.rect(0, 0, 0.06, w), top, top + 0.16, lighter(main, 0.6))
    for v in (0.0, w - 0.05):
        box(world, f.rect(0.02, v, 0.07, v + 0.05), 0.0, top - 0.05, BLACK)
        box(world, f.rect(d - 0.07, v, d - 0.02, v + 0.05), 0.0, top - 0.05, BLACK)


def _sofa(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    dark = lighter(main, 0.72)
    box(world, f.rect(0, 0, d, w), 0.0, top - 0.04, dark)
    box(world, f.rect(0, 0, 0.14, w), 0.0, top + 0.12, dark)
    box(world, f.rect(0, 0, d, 0.11), 0.0, top + 0.05, dark)
    box(world, f.rect(0, w - 0.11, d, w), 0.0, top + 0.05, dark)
    middle = w / 2
    for v0, v1 in ((0.13, middle - 0.01), (middle + 0.01, w - 0.13)):
        box(world, f.rect(0.15, v0, d - 0.02, v1), 0.0, top, lighter(main, 1.25))


def _bed(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), 0.0, top - 0.08, WOOD)
    box(world, f.rect(0, 0, 0.05, w), 0.0, top + 0.08, DARK_WOOD)
    box(world, f.rect(0.05, 0.03, d - 0.03, w - 0.03), 0.0, top - 0.01, WHITE)
    box(world, f.rect(0.45, 0.02, d - 0.02, w - 0.02), 0.0, top, main)
    box(world, f.rect(0.45, 0.02, 0.55, w - 0.02), 0.0, top + 0.005, lighter(main, 1.4))
    half = w / 2
    for v0, v1 in ((0.08, half - 0.03), (half + 0.03, w - 0.08)):
        box(world, f.rect(0.09, v0, 0.36, v1), 0.0, top + 0.03, (0.84, 0.87, 0.95))


def _desk(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), top - 0.04, top, main)
    box(world, f.rect(0, 0, d - 0.03, 0.28), 0.0, top - 0.04, lighter(main, 1.3))
    box(world, f.rect(0, w - 0.04, d - 0.03, w), 0.0, top - 0.04, lighter(main, 1.3))
    # A screen at the back tells a desk from a table.
    box(world, f.rect(0.03, w / 2 - 0.24, 0.07, w / 2 + 0.24), top + 0.03, top + 0.22, BLACK)
    box(world, f.rect(0.07, w / 2 - 0.22, 0.075, w / 2 + 0.22), top + 0.05, top + 0.2, (0.35, 0.60, 0.85))
    box(world, f.rect(0.02, w / 2 - 0.07, 0.13, w / 2 + 0.07), top, top + 0.012, STEEL)
    box(world, f.rect(0.02, w / 2 - 0.25, 0.055, w / 2 + 0.25), top + 0.22, top + 0.225, (0.55, 0.58, 0.62))


def _counter(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), 0.0, top - 0.03, WHITE)
    box(world, f.rect(0, 0, d, w), top - 0.03, top, main)
    box(world, f.rect(0.1, w - 0.56, d - 0.08, w - 0.14), top, top + 0.004, STEEL)
    box(world, f.rect(0.14, w - 0.52, d - 0.12, w - 0.18), top + 0.004, top + 0.006, lighter(STEEL, 0.75))
    box(world, f.rect(0.06, 0.06, d - 0.04, 0.56), top, top + 0.003, BLACK)
    for u in (0.16, 0.34):
        for v in (0.19, 0.43):
            cylinder(world, *f.point(u, v), top + 0.003, top + 0.006, 0.075, (0.75, 0.22, 0.12))


def _bathtub(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    box(world, f.piece.footprint, 0.0, top, main)
    box(world, f.piece.footprint.grown(-0.07), top, top + 0.004, (0.42, 0.72, 0.90))


def _toilet(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, 0.15, w), 0.0, top + 0.1, main)
    x, y = f.point(d - w / 2, w / 2)
    box(world, f.rect(0.1, 0.06, d - w / 2, w - 0.06), 0.0, top - 0.01, main)
    cylinder(world, x, y, 0.0, top, w / 2, main)
    cylinder(world, x, y, top, top + 0.004, 0.3 * w, (0.50, 0.62, 0.72))


def _basin(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d, w), 0.0, top, WOOD)
    box(world, f.rect(0.06, 0.05, d - 0.03, w - 0.05), top, top + 0.02, main)
    box(world, f.rect(0.12, 0.11, d - 0.08, w - 0.11), top + 0.02, top + 0.023, (0.55, 0.70, 0.80))
    box(world, f.rect(0.02, w / 2 - 0.03, 0.14, w / 2 + 0.03), top, top + 0.06, STEEL)


def _cabinet(world: mujoco.MjsBody, f: Frame, top: float, main: Colour) -> None:
    d, w = f.depth, f.width
    box(world, f.rect(0, 0, d - 0.02, w), 0.0, top, main)
    box(world, f.rect(0.04, 0.04, d - 0.06, w - 0.04), top, top + 0.003, lighter(main, 1.2))


def add_drawer(world: mujoco.MjsBody, piece: Piece) -> None:
    """Add the cabinet's drawer on its slide joint: body ``drawer``, joint ``drawer``, at 0 when it is shut."""
    f = Frame(piece)
    d, w, top = f.depth, f.width, piece.height_m
    main = pick(MAIN["cabinet"], piece.shade)
    drawer = world.add_body(name="drawer")
    drawer.add_joint(
        name="drawer",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[*piece.front, 0],
        range=[0.0, DRAWER_TRAVEL_M],
        limited=True,
        damping=15.0,
        frictionloss=4.0,
    )
    body = box(drawer, f.rect(d - 0.02 - DRAWER_TRAVEL_M, 0.03, d, w - 0.03), 0.1, top - 0.03, (0.93, 0.86, 0.70))
    body.mass, body.contype = 2.0, STOPS_ROBOT
    box(drawer, f.rect(d - 0.03, 0.01, d + 0.005, w - 0.01), 0.06, top - 0.01, lighter(main, 0.8))
    # From above an open drawer shows what is in it.
    box(drawer, f.rect(d - 0.2, 0.08, d - 0.07, w / 2 - 0.03), top - 0.03, top - 0.02, (0.55, 0.62, 0.75))
    box(drawer, f.rect(d - 0.2, w / 2 + 0.03, d - 0.07, w - 0.08), top - 0.03, top - 0.02, (0.80, 0.50, 0.45))
    handle = box(
        drawer, f.rect(d, w / 2 - 0.14, d + HANDLE_M, w / 2 + 0.14), top - 0.09, top - 0.03, (0.98, 0.86, 0.25)
    )
    handle.name = "handle"


def add_object(world: mujoco.MjsBody, item: Placement) -> None:
    """Add an object as a free body, its origin at its foot."""
    kind = OBJECT_KINDS[item.name]
    body = world.add_body(name=item.name, pos=[item.x, item.y, item.z + 0.001])
    body.quat = _upright(item.yaw)
    body.add_freejoint(name=item.name)
    a, b, h = kind.half_x_m, kind.half_y_m, kind.height_m
    solid = body.add_geom(
        name=item.name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER if kind.round else mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0, 0, h / 2],
        size=[a, h / 2, 0] if kind.round else [a, b, h / 2],
        rgba=[0, 0, 0, 0],
        group=4,
        contype=0,
        conaffinity=CARRIES,
        condim=3,
        mass=0.3,
        friction=[0.8, 0.01, 0.001],
    )
    solid.solref = [0.03, 1.0]
    main = pick(MAIN[item.name], item.shade) if item.name in MAIN else BLACK
    if item.name == "cup":
        cylinder(body, 0, 0, 0, h, a, WHITE)
        cylinder(body, 0, 0, 0, h + 0.002, 0.86 * a, main)
        cylinder(body, 0, 0, 0, h + 0.004, 0.5 * a, (0.30, 0.16, 0.08))
        box(body, Rect(a - 0.02, -0.035, a + 0.07, 0.035), 0.03, h - 0.02, main)
    elif item.name == "bottle":
        cylinder(body, 0, 0, 0, 0.7 * h, a, main)
        cylinder(body, 0, 0, 0.7 * h, 0.85 * h, 0.62 * a, lighter(main, 1.3))
        cylinder(body, 0, 0, 0.85 * h, h, 0.4 * a, (0.98, 0.95, 0.90))
    elif item.name == "book":
        box(body, Rect(-a, -b, a, b), 0.0, h - 0.01, (0.93, 0.91, 0.84))
        box(body, Rect(-a, -b, a - 0.02, b), 0.01, h, main)
        box(body, Rect(-a + 0.06, -b + 0.08, a - 0.07, -b + 0.15), h, h + 0.002, (0.98, 0.85, 0.35))
    elif item.name == "phone":
        box(body, Rect(-a, -b, a, b), 0.0, h, BLACK)
        box(body, Rect(-a + 0.025, -b + 0.035, a - 0.025, b - 0.035), h, h + 0.003, (0.45, 0.90, 1.0))
    else:
        grey = lighter((0.30, 0.30, 0.33), 0.8 + 0.5 * item.shade)
        box(body, Rect(-a, -b, a, b), 0.0, h, grey)
        box(body, Rect(-0.06, b - 0.13, 0.06, b - 0.04), h, h + 0.003, (0.95, 0.15, 0.12))
        for x in (-0.06, 0.03):
            for y in (-0.14, -0.03):
                box(body, Rect(x, y, x + 0.05, y + 0.05), h, h + 0.003, WHITE)


def _upright(yaw: float) -> list[float]:
    import math

    return [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]


_SHAPES: dict[str, Callable[[mujoco.MjsBody, Frame, float, Colour], None]] = {
    "table": _table,
    "desk": _desk,
    "chair": _chair,
    "sofa": _sofa,
    "bed": _bed,
    "counter": _counter,
    "cabinet": _cabinet,
    "bathtub": _bathtub,
    "toilet": _toilet,
    "basin": _basin,
}
