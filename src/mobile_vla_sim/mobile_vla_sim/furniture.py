"""What furniture and objects look like: boxes and cylinders around the floor plan's footprints."""

from __future__ import annotations

from collections.abc import Callable

import mujoco

from mobile_vla_sim.flat import WALL_HEIGHT_M, Colour, Furniture, Rect

_WOOD: Colour = (0.58, 0.40, 0.24)
_DARK_WOOD: Colour = (0.42, 0.28, 0.18)
_WHITE: Colour = (0.95, 0.95, 0.96)
_STEEL: Colour = (0.68, 0.70, 0.73)
_CLOTH: Colour = (0.35, 0.42, 0.50)


def box(
    body: mujoco.MjsBody, name: str, rect: Rect, bottom: float, top: float, colour: Colour, *, solid: bool = False
) -> None:
    """A box over ``rect`` from ``bottom`` to ``top`` [m]. Only solid boxes stop the robot."""
    centre, size = rect.centre, rect.size
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*centre, (bottom + top) / 2],
        size=[size[0] / 2, size[1] / 2, (top - bottom) / 2],
        rgba=[*colour, 1.0],
        contype=int(solid),
        conaffinity=0,
        # Frictionless: a robot that is pressed against a wall slides along it, as on wheels.
        condim=1,
    )


def cylinder(
    body: mujoco.MjsBody, name: str, x: float, y: float, bottom: float, top: float, radius: float, colour: Colour
) -> None:
    """An upright cylinder at (x, y) from ``bottom`` to ``top`` [m]; nothing collides with it."""
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[x, y, (bottom + top) / 2],
        size=[radius, (top - bottom) / 2, 0.0],
        rgba=[*colour, 1.0],
        contype=0,
        conaffinity=0,
    )


def add_furniture(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    """Add one piece: an invisible solid over its footprint, which stops the robot, and what is seen of it."""
    centre, size = piece.footprint.centre, piece.footprint.size
    world.add_geom(
        name=f"{name}_solid",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*centre, WALL_HEIGHT_M / 2],
        size=[size[0] / 2, size[1] / 2, WALL_HEIGHT_M / 2],
        rgba=[0.0, 0.0, 0.0, 0.0],
        group=4,
        contype=1,
        conaffinity=0,
        condim=1,
    )
    _SHAPES[piece.kind](world, name, piece)


def _table(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_top", r, top - 0.03, top, _WOOD)
    for index, (x, y) in enumerate(((r.x0, r.y0), (r.x0, r.y1), (r.x1, r.y0), (r.x1, r.y1))):
        leg = Rect(min(max(x, r.x0), r.x1 - 0.05), min(max(y, r.y0), r.y1 - 0.05), 0.0, 0.0)
        box(
            world,
            f"{name}_leg_{index}",
            Rect(leg.x0, leg.y0, leg.x0 + 0.05, leg.y0 + 0.05),
            0.0,
            top - 0.03,
            _DARK_WOOD,
        )


def _desk(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_top", r, top - 0.04, top, _DARK_WOOD)
    box(world, f"{name}_drawers", Rect(r.x0, r.y0, r.x0 + 0.3, r.y1), 0.0, top - 0.04, _WOOD)
    box(world, f"{name}_side", Rect(r.x1 - 0.04, r.y0, r.x1, r.y1), 0.0, top - 0.04, _WOOD)


def _chair(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_seat", r, top - 0.04, top, _DARK_WOOD)
    box(world, f"{name}_back", Rect(r.x0, r.y0, r.x1, r.y0 + 0.05), top, top + 0.18, _DARK_WOOD)


def _sofa(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    dark: Colour = (0.26, 0.32, 0.40)
    box(world, f"{name}_base", r, 0.0, top - 0.06, dark)
    box(world, f"{name}_back", Rect(r.x0, r.y1 - 0.18, r.x1, r.y1), 0.0, top + 0.16, dark)
    box(world, f"{name}_arm_0", Rect(r.x0, r.y0, r.x0 + 0.16, r.y1), 0.0, top + 0.06, dark)
    box(world, f"{name}_arm_1", Rect(r.x1 - 0.16, r.y0, r.x1, r.y1), 0.0, top + 0.06, dark)
    middle = r.centre[0]
    for index, (x0, x1) in enumerate(((r.x0 + 0.18, middle - 0.01), (middle + 0.01, r.x1 - 0.18))):
        box(world, f"{name}_seat_{index}", Rect(x0, r.y0 + 0.02, x1, r.y1 - 0.2), 0.0, top, _CLOTH)


def _bed(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_frame", r, 0.0, top - 0.1, _WOOD)
    box(world, f"{name}_mattress", r.grown(-0.04), 0.0, top - 0.02, _WHITE)
    box(
        world, f"{name}_blanket", Rect(r.x0 + 0.02, r.y0 + 0.02, r.x1 - 0.42, r.y1 - 0.02), 0.0, top, (0.30, 0.33, 0.62)
    )
    half = r.centre[1]
    for index, (y0, y1) in enumerate(((r.y0 + 0.1, half - 0.05), (half + 0.05, r.y1 - 0.1))):
        box(
            world, f"{name}_pillow_{index}", Rect(r.x1 - 0.36, y0, r.x1 - 0.08, y1), 0.0, top + 0.04, (0.86, 0.88, 0.95)
        )


def _counter(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_body", r, 0.0, top - 0.03, _WHITE)
    box(world, f"{name}_top", r, top - 0.03, top, (0.33, 0.32, 0.31))
    box(world, f"{name}_sink", Rect(r.x1 - 0.75, r.y0 + 0.08, r.x1 - 0.3, r.y1 - 0.08), top, top + 0.004, _STEEL)
    for index, (x, y) in enumerate(((0.25, 0.13), (0.55, 0.13), (0.25, 0.33), (0.55, 0.33))):
        cylinder(world, f"{name}_ring_{index}", r.x0 + x, r.y0 + y, top, top + 0.004, 0.085, (0.08, 0.08, 0.09))


def _bathtub(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_body", r, 0.0, top, _WHITE)
    box(world, f"{name}_water", r.grown(-0.09), top, top + 0.004, (0.55, 0.78, 0.90))


def _toilet(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    x, radius = r.centre[0], r.size[0] / 2
    box(world, f"{name}_tank", Rect(r.x0, r.y0, r.x1, r.y0 + 0.17), 0.0, top + 0.12, _WHITE)
    cylinder(world, f"{name}_bowl", x, r.y1 - radius, 0.0, top, radius, _WHITE)
    cylinder(world, f"{name}_water", x, r.y1 - radius, top, top + 0.004, 0.6 * radius, (0.60, 0.72, 0.80))


def _basin(world: mujoco.MjsBody, name: str, piece: Furniture) -> None:
    r, top = piece.footprint, piece.height_m
    box(world, f"{name}_body", r, 0.0, top, _WOOD)
    box(world, f"{name}_bowl", r.grown(-0.06), top, top + 0.03, _WHITE)
    box(world, f"{name}_drain", r.grown(-0.13), top + 0.03, top + 0.034, (0.72, 0.80, 0.84))


_SHAPES: dict[str, Callable[[mujoco.MjsBody, str, Furniture], None]] = {
    "table": _table,
    "desk": _desk,
    "chair": _chair,
    "sofa": _sofa,
    "bed": _bed,
    "counter": _counter,
    "bathtub": _bathtub,
    "toilet": _toilet,
    "basin": _basin,
}


def add_object(world: mujoco.MjsBody, name: str) -> None:
    """An object as a body of its own, its origin at its foot; a scene decides where it stands."""
    body = world.add_body(name=name)
    if name == "cup":
        cylinder(body, name, 0.0, 0.0, 0.0, 0.10, 0.055, (0.15, 0.45, 0.85))
        cylinder(body, f"{name}_inside", 0.0, 0.0, 0.10, 0.102, 0.042, _WHITE)
    elif name == "bottle":
        cylinder(body, name, 0.0, 0.0, 0.0, 0.20, 0.05, (0.10, 0.55, 0.25))
        cylinder(body, f"{name}_neck", 0.0, 0.0, 0.20, 0.27, 0.022, (0.85, 0.85, 0.80))
    elif name == "book":
        box(body, name, Rect(-0.08, -0.11, 0.08, 0.11), 0.0, 0.035, (0.50, 0.16, 0.55))
    elif name == "phone":
        box(body, name, Rect(-0.045, -0.085, 0.045, 0.085), 0.0, 0.015, (0.05, 0.05, 0.06))
        box(body, f"{name}_screen", Rect(-0.036, -0.07, 0.036, 0.07), 0.0, 0.018, (0.35, 0.75, 0.95))
    else:
        box(body, name, Rect(-0.03, -0.1, 0.03, 0.1), 0.0, 0.025, (0.14, 0.14, 0.15))
        cylinder(body, f"{name}_button", 0.0, 0.06, 0.025, 0.03, 0.014, (0.95, 0.75, 0.10))
