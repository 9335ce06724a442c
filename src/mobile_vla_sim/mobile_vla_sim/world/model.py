"""Builds the MuJoCo model of one scene: flat, furniture, objects, robot, light and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco

from mobile_vla_data.contract import Contract
from mobile_vla_sim.world.geometry import Colour, Rect
from mobile_vla_sim.world.paint import FLOORS, lighter, pick
from mobile_vla_sim.world.plans import HALF_SIZE_M, WALL_HEIGHT_M, Room
from mobile_vla_sim.world.robot import add_robot
from mobile_vla_sim.world.scene import Scene
from mobile_vla_sim.world.shapes import CARRIES, STOPS_ROBOT, add_drawer, add_furniture, add_object, box

TIMESTEP_S = 0.01
CAMERA_HEIGHT_M = 9.0
"""High above the flat: the nearly parallel view shows as much of a room at the edge as of one in the middle."""
VISIBLE_HALF_M = HALF_SIZE_M + 0.11
STATIC_FOVY_DEG = 2.0 * math.degrees(math.atan(VISIBLE_HALF_M / CAMERA_HEIGHT_M))

#: Lighting -> (ambient, diffuse of the overhead fill, diffuse of the lamp), each RGB.
_LIGHTS = {
    "day": ((0.42, 0.42, 0.42), (0.22, 0.22, 0.22), (0.38, 0.38, 0.36)),
    "artificial": ((0.42, 0.40, 0.36), (0.30, 0.28, 0.25), (0.18, 0.17, 0.15)),
    "night": ((0.33, 0.34, 0.39), (0.17, 0.18, 0.22), (0.08, 0.08, 0.11)),
}


@dataclass(frozen=True)
class RenderQuality:
    """Rendering quality: a frame takes 2 ms or 40 ms on a CPU."""

    width: int
    height: int
    multisamples: int = 0
    shadow_size: int = 0
    slices: int = 16
    """Corners of a circle."""


def build_spec(scene: Scene, contract: Contract, quality: RenderQuality) -> mujoco.MjSpec:
    """Describe a scene for MuJoCo; compiling it takes a few milliseconds."""
    spec = mujoco.MjSpec()
    spec.modelname = "mobile_vla_flat"
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP
    _set_visual(spec, scene, quality)
    world = spec.worldbody
    world.add_geom(
        name="ground",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[HALF_SIZE_M + 1.0, HALF_SIZE_M + 1.0, 1.0],
        rgba=[0, 0, 0, 0],
        group=4,
        contype=CARRIES,
        conaffinity=0,
    )
    _add_floors(world, scene)
    colour = lighter((0.93, 0.92, 0.89), 0.9 + 0.15 * scene.shades[4])
    for wall in scene.plan.walls:
        box(world, wall, 0.0, WALL_HEIGHT_M, colour, solid=STOPS_ROBOT | CARRIES)
    for piece in scene.pieces:
        add_furniture(world, piece)
    add_drawer(world, scene.piece("cabinet"))
    add_robot(spec, contract)
    for item in scene.objects:
        add_object(world, item)
        weld = spec.add_equality(
            name=item.name, type=mujoco.mjtEq.mjEQ_WELD, name1="hand", name2=item.name, objtype=mujoco.mjtObj.mjOBJ_BODY
        )
        weld.active = False
    grip = spec.add_equality(
        name="handle", type=mujoco.mjtEq.mjEQ_CONNECT, name1="hand", name2="drawer", objtype=mujoco.mjtObj.mjOBJ_BODY
    )
    grip.active = False
    world.add_camera(name="static", pos=[0.0, 0.0, CAMERA_HEIGHT_M], fovy=STATIC_FOVY_DEG)
    return spec


def _set_visual(spec: mujoco.MjSpec, scene: Scene, quality: RenderQuality) -> None:
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = quality.width, quality.height
    visual.quality.offsamples, visual.quality.shadowsize = quality.multisamples, quality.shadow_size
    visual.map.znear, visual.map.zfar = 0.005, 30.0
    spec.stat.extent, spec.stat.center = 2.0 * HALF_SIZE_M, [0.0, 0.0, 0.0]
    # Subdivided faces only matter to a spotlight; undivided they halve the cost of a frame.
    # Two stacks: with one, a cylinder has no lid.
    visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = quality.slices, 2, 1
    ambient, fill, lamp = ([a * b for a, b in zip(light, scene.tint, strict=True)] for light in _LIGHTS[scene.lighting])
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = ambient, fill, [0.0] * 3
    spec.worldbody.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[-2.0, 3.0, 8.0],
        dir=[0.25, -0.4, -0.88],
        diffuse=lamp,
        castshadow=quality.shadow_size > 0,
    )


def _add_floors(world: mujoco.MjsBody, scene: Scene) -> None:
    h = HALF_SIZE_M + 0.1
    box(world, Rect(-h - 1, -h - 1, h + 1, h + 1), -0.3, -0.1, (0.25, 0.26, 0.28))
    for room, shade in zip(scene.plan.rooms, scene.shades, strict=False):
        colour = pick(FLOORS[room.name], shade)
        box(world, room.area, -0.05, 0.0, colour)
        strength = 0.78 if room.name == "kitchen" else 0.9
        # Patterns are geometry: a texture costs 0.5 ms a frame on a CPU, these boxes a tenth of that.
        for patch in _pattern(room):
            box(world, patch, -0.01, 0.001, lighter(colour, strength))
        if room.name == "living_room":
            _add_rug(world, scene, shade)
    for hall in scene.plan.halls:
        box(world, hall, -0.01, 0.004, (0.72, 0.71, 0.70))


def _add_rug(world: mujoco.MjsBody, scene: Scene, shade: float) -> None:
    rugs: tuple[Colour, ...] = ((0.66, 0.20, 0.20), (0.30, 0.50, 0.30), (0.75, 0.60, 0.30))
    sofa = scene.piece("sofa")
    (dx, dy), (cx, cy) = sofa.front, sofa.footprint.centre
    size = (0.9, 1.2) if dx else (1.2, 0.9)
    rug = Rect.around(cx + 0.75 * dx, cy + 0.75 * dy, *size)
    area = scene.plan.room("living_room").area.grown(-0.06)
    rug = Rect(max(rug.x0, area.x0), max(rug.y0, area.y0), min(rug.x1, area.x1), min(rug.y1, area.y1))
    box(world, rug, -0.01, 0.002, lighter(rugs[int(2.999 * ((7.0 * shade) % 1.0))], 0.8))
    box(world, rug.grown(-0.07), -0.01, 0.003, rugs[int(2.999 * ((7.0 * shade) % 1.0))])


def _pattern(room: Room) -> list[Rect]:
    """Return the darker patches of a floor: every second tile, or every second plank; a bedroom's carpet has none."""
    (x, y), (width, height) = (room.area.x0, room.area.y0), room.area.size
    if room.name == "bedroom":
        return []
    tile_m = {"kitchen": 0.45, "bathroom": 0.3, "living_room": 0.22}[room.name]
    columns, rows = max(1, round(width / tile_m)), max(1, round(height / tile_m))
    if room.name == "living_room":
        columns = 1
    dx, dy = width / columns, height / rows
    return [
        Rect(x + column * dx, y + row * dy, x + (column + 1) * dx, y + (row + 1) * dy)
        for row in range(rows)
        for column in range(columns)
        if (row + column) % 2
    ]
