"""Builds the MuJoCo model of flat and robot from the floor plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_sim.flat import (
    FOYER,
    FURNITURE,
    HALF_SIZE_M,
    OBJECTS,
    ROBOT_RADIUS_M,
    ROOMS,
    WALL_HEIGHT_M,
    WALLS,
    Colour,
    Rect,
    Room,
)
from mobile_vla_sim.furniture import add_furniture, add_object, box, cylinder

TIMESTEP_S = 0.01
CAMERA_HEIGHT_M = 9.0
"""High above the flat: the nearly parallel view shows as much of a room at the edge as of one in the middle."""
_VISIBLE_HALF_M = HALF_SIZE_M + 0.12
STATIC_FOVY_DEG = 2.0 * math.degrees(math.atan(_VISIBLE_HALF_M / CAMERA_HEIGHT_M))
GRIPPER_FOVY_DEG = 75.0

FINGER_OPEN_M, FINGER_CLOSED_M = 0.13, 0.03
"""Distance of a finger from the gripper's middle."""

_BASE_MASS_KG = 20.0
_BASE_GAIN_N_S_M = 300.0
"""Velocity gain: with 20 kg a time constant of 0.07 s."""
_BASE_FORCE_N = 100.0

_WALL: Colour = (0.93, 0.92, 0.89)
_BODY: Colour = (0.93, 0.07, 0.10)
_FINGER: Colour = (0.10, 0.10, 0.12)


@dataclass(frozen=True)
class RenderQuality:
    """What makes a frame cost 2 ms or 40 on a CPU."""

    width: int
    height: int
    multisamples: int = 0
    shadow_size: int = 0
    slices: int = 16
    """Corners of a circle."""


def build_model(contract: Contract, quality: RenderQuality) -> mujoco.MjModel:
    """Compile the model: joints ``base_x``, ``base_y`` (and ``base_yaw`` on a differential base), cameras, objects."""
    spec = mujoco.MjSpec()
    spec.modelname = "mobile_vla_flat"
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = quality.width, quality.height
    visual.quality.offsamples, visual.quality.shadowsize = quality.multisamples, quality.shadow_size
    visual.map.znear, visual.map.zfar = 0.005, 30.0
    spec.stat.extent, spec.stat.center = 2.0 * HALF_SIZE_M, [0.0, 0.0, 0.0]
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = [0.4] * 3, [0.2] * 3, [0.0] * 3
    # Subdivided faces only matter to a spotlight; undivided they halve the cost of a frame.
    # Two stacks: with one, a cylinder has no lid.
    visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = quality.slices, 2, 1
    world = spec.worldbody
    _add_floors(world)
    for index, wall in enumerate(WALLS):
        box(world, f"wall_{index}", wall, 0.0, WALL_HEIGHT_M, _WALL, solid=True)
    for index, piece in enumerate(FURNITURE):
        add_furniture(world, f"{piece.kind}_{index}", piece)
    for name in OBJECTS:
        add_object(world, name)
    _add_robot(spec, contract)
    world.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[-2.0, 3.0, 8.0],
        dir=[0.25, -0.4, -0.88],
        castshadow=quality.shadow_size > 0,
    )
    world.add_camera(name="static", pos=[0.0, 0.0, CAMERA_HEIGHT_M], fovy=STATIC_FOVY_DEG)
    return spec.compile()


def _add_floors(world: mujoco.MjsBody) -> None:
    h = HALF_SIZE_M + 0.1
    box(world, "ground", Rect(-h - 1, -h - 1, h + 1, h + 1), -0.3, -0.1, (0.25, 0.26, 0.28))
    for room in ROOMS.values():
        box(world, f"floor_{room.name}", room.area, -0.05, 0.0, room.floor)
        darker = (0.91 * room.floor[0], 0.91 * room.floor[1], 0.91 * room.floor[2])
        # Patterns are geometry: a texture costs 0.5 ms a frame on a CPU, these boxes a tenth of that.
        for index, patch in enumerate(_pattern(room)):
            box(world, f"floor_{room.name}_{index}", patch, -0.01, 0.001, darker)
    box(world, "floor_foyer", FOYER, -0.01, 0.004, (0.80, 0.79, 0.77))
    box(world, "rug", Rect(1.05, 0.85, 2.5, 1.9), -0.01, 0.006, (0.46, 0.61, 0.37))


def _pattern(room: Room) -> list[Rect]:
    """The darker patches of a floor: every second tile, or every second plank."""
    x, y = room.area.x0, room.area.y0
    width, height = room.area.size
    columns, rows = (5, 5) if room.pattern == "tiles" else (1, 10)
    dx, dy = width / columns, height / rows
    return [
        Rect(x + column * dx, y + row * dy, x + (column + 1) * dx, y + (row + 1) * dy)
        for row in range(rows)
        for column in range(columns)
        if (row + column) % 2
    ]


def _add_robot(spec: mujoco.MjSpec, contract: Contract) -> None:
    robot = spec.worldbody.add_body(name="robot")
    axes = {"base_x": ([1, 0, 0], mujoco.mjtJoint.mjJNT_SLIDE), "base_y": ([0, 1, 0], mujoco.mjtJoint.mjJNT_SLIDE)}
    if contract.base == "differential":
        axes["base_yaw"] = ([0, 0, 1], mujoco.mjtJoint.mjJNT_HINGE)
    for name, (axis, kind) in axes.items():
        robot.add_joint(name=name, type=kind, axis=axis)
        gain = _BASE_GAIN_N_S_M if kind == mujoco.mjtJoint.mjJNT_SLIDE else 20.0
        _velocity_actuator(spec, name, gain)
    # The solid disc is the whole robot: the gripper reaches over it and not beyond, so that nothing else can touch.
    robot.add_geom(
        name="base",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0, 0, 0.13],
        size=[ROBOT_RADIUS_M, 0.11, 0],
        rgba=[*_BODY, 1.0],
        mass=_BASE_MASS_KG,
        contype=0,
        conaffinity=1,
        condim=1,
        # Contacts are soft and found once per step: at full speed the base would sink 2 cm into a wall before it stops.
        margin=0.015,
    )
    cylinder(robot, "skirt", 0.0, 0.0, 0.015, 0.05, ROBOT_RADIUS_M - 0.02, _FINGER)
    cylinder(robot, "deck", -0.06, 0.0, 0.24, 0.26, 0.17, (1.0, 0.98, 0.95))
    cylinder(robot, "sensor", -0.06, 0.0, 0.26, 0.32, 0.06, _FINGER)
    box(robot, "wrist", Rect(0.08, -0.17, 0.15, 0.17), 0.24, 0.30, _FINGER)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _add_finger(spec, robot, side, sign)
    # Above the gripper, looking along +x and down at what is in front of the fingers.
    pitch = math.radians(28.0)
    camera = robot.add_camera(name="gripper", pos=[0.02, 0.0, 0.48], fovy=GRIPPER_FOVY_DEG)
    rotation = np.array([[0, math.sin(pitch), -math.cos(pitch)], [-1, 0, 0], [0, math.cos(pitch), math.sin(pitch)]])
    quaternion = np.zeros(4)
    # Columns: right (-y), up, backwards; a camera looks along its own -z.
    mujoco.mju_mat2Quat(quaternion, rotation.astype(float).flatten())
    camera.quat = quaternion


def _add_finger(spec: mujoco.MjSpec, robot: mujoco.MjsBody, side: str, sign: float) -> None:
    finger = robot.add_body(name=f"finger_{side}", pos=[0.0, sign * FINGER_CLOSED_M, 0.0])
    name = f"{side}_finger"
    finger.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, sign, 0],
        range=[0.0, FINGER_OPEN_M - FINGER_CLOSED_M],
        limited=True,
        damping=4.0,
    )
    finger.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0.21, 0.0, 0.27],
        size=[0.08, 0.022, 0.03],
        rgba=[*_FINGER, 1.0],
        mass=0.1,
        contype=0,
        conaffinity=0,
    )
    spec.add_actuator(
        name=name,
        target=name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[40.0] + [0.0] * 9,
        biasprm=[0.0, -40.0] + [0.0] * 8,
        forcelimited=True,
        forcerange=[-2.0, 2.0],
    )


def _velocity_actuator(spec: mujoco.MjSpec, joint: str, gain: float) -> None:
    spec.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[gain] + [0.0] * 9,
        biasprm=[0.0, 0.0, -gain] + [0.0] * 7,
        forcelimited=True,
        forcerange=[-_BASE_FORCE_N, _BASE_FORCE_N],
    )
