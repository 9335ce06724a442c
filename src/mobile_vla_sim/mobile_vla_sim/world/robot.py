"""The robot's body: a round base, a turret with an arm on it, a gripper, and the gripper's camera.

The arm is a telescope on a turret: it turns, reaches 0.2 to 0.6 m from the robot's centre, and lowers its hand.
It belongs to the gripper: the base is what the contract's actions drive, the arm follows by itself (see ``arm``).
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_sim.world.access import NOMINAL_REACH_M, REACH_M
from mobile_vla_sim.world.geometry import Colour, Rect
from mobile_vla_sim.world.planner import ROBOT_RADIUS_M
from mobile_vla_sim.world.shapes import CARRIES, STOPS_ROBOT, box, cylinder

GRIPPER_FOVY_DEG = 75.0
CARRY_M = 0.5
"""Height of the gripper while it carries or is idle: above everything in the flat."""
FINGER_TRAVEL_M = 0.1
"""Way of a finger from closed to open."""

_BASE_MASS_KG = 20.0
_BASE_GAIN_N_S_M = 300.0
"""Velocity gain: with 20 kg a time constant of 0.07 s."""
_BASE_FORCE_N = 100.0
_BODY: Colour = (0.93, 0.05, 0.08)
_DARK: Colour = (0.10, 0.10, 0.12)


def add_robot(spec: mujoco.MjSpec, contract: Contract) -> None:
    """Add the robot at the origin: joints base_x, base_y (and base_yaw), turret, reach, lift and two fingers."""
    robot = spec.worldbody.add_body(name="robot")
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    axes = {"base_x": ([1, 0, 0], slide), "base_y": ([0, 1, 0], slide)}
    if contract.base == "differential":
        axes["base_yaw"] = ([0, 0, 1], hinge)
    for name, (axis, kind) in axes.items():
        robot.add_joint(name=name, type=kind, axis=axis)
        _actuator(spec, name, 0.0, _BASE_GAIN_N_S_M if kind == slide else 20.0, _BASE_FORCE_N)
    base = robot.add_geom(
        name="base",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0, 0, 0.12],
        size=[ROBOT_RADIUS_M, 0.1, 0],
        rgba=[*_BODY, 1.0],
        mass=_BASE_MASS_KG,
        contype=CARRIES,
        conaffinity=STOPS_ROBOT,
        condim=1,
    )
    # Contacts are soft and found once per step: at full speed the base would sink 2 cm into a wall before it stops.
    base.margin = 0.015
    cylinder(robot, 0.0, 0.0, 0.22, 0.235, 0.13, (1.0, 0.98, 0.95))
    cylinder(robot, 0.0, 0.0, 0.235, CARRY_M + 0.06, 0.05, _DARK)
    _add_arm(spec, robot)


def _add_arm(spec: mujoco.MjSpec, robot: mujoco.MjsBody) -> None:
    turret = robot.add_body(name="turret")
    turret.gravcomp = 1.0
    turret.add_joint(name="turret", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], damping=0.2)
    _massive(turret, 0.3, (0.1, 0.1, 0.1))
    _actuator(spec, "turret", 40.0, 4.0, 12.0)
    _add_camera(turret)
    arm = turret.add_body(name="arm", pos=[NOMINAL_REACH_M, 0, 0])
    arm.gravcomp = 1.0
    low, high = REACH_M
    arm.add_joint(
        name="reach",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[1, 0, 0],
        range=[low - NOMINAL_REACH_M, high - NOMINAL_REACH_M],
        limited=True,
    )
    _massive(arm, 0.2, (0.1, 0.05, 0.05))
    box(arm, Rect(-NOMINAL_REACH_M, -0.018, 0.0, 0.018), CARRY_M + 0.06, CARRY_M + 0.1, _DARK)
    _actuator(spec, "reach", 800.0, 40.0, 60.0)
    hand = arm.add_body(name="hand", pos=[0, 0, CARRY_M])
    hand.gravcomp = 1.0
    hand.add_joint(
        name="lift", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], range=[0.01 - CARRY_M, 0.02], limited=True
    )
    _massive(hand, 0.2, (0.05, 0.05, 0.05))
    box(hand, Rect(-0.04, -0.12, 0.04, 0.12), 0.06, 0.1, (0.25, 0.25, 0.28))
    _actuator(spec, "lift", 600.0, 40.0, 30.0)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _add_finger(spec, hand, side, sign)


def _add_finger(spec: mujoco.MjSpec, hand: mujoco.MjsBody, side: str, sign: float) -> None:
    finger = hand.add_body(name=f"finger_{side}", pos=[0.0, sign * 0.015, 0.0])
    finger.gravcomp = 1.0
    name = f"{side}_finger"
    finger.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, sign, 0],
        range=[0.0, FINGER_TRAVEL_M],
        limited=True,
        damping=2.0,
    )
    _massive(finger, 0.05, (0.02, 0.02, 0.02))
    box(finger, Rect(-0.03, -0.014, 0.03, 0.014), -0.03, 0.07, (0.95, 0.75, 0.1))
    _actuator(spec, name, 60.0, 3.0, 4.0)


def _add_camera(turret: mujoco.MjsBody) -> None:
    """Camera above the arm, looking along it and down at the floor under and before the gripper."""
    pitch = math.radians(42.0)
    camera = turret.add_camera(name="gripper", pos=[0.0, 0.0, 0.78], fovy=GRIPPER_FOVY_DEG)
    # Columns: right (-y), up, backwards; a camera looks along its own -z.
    rotation = np.array([[0, math.sin(pitch), -math.cos(pitch)], [-1, 0, 0], [0, math.cos(pitch), math.sin(pitch)]])
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, rotation.astype(float).flatten())
    camera.quat = quaternion


def _massive(body: mujoco.MjsBody, mass_kg: float, half_m: tuple[float, float, float]) -> None:
    """Give a body its mass by an invisible box that nothing touches."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=list(half_m),
        mass=mass_kg,
        contype=0,
        conaffinity=0,
        group=4,
        rgba=[0, 0, 0, 0],
    )


def _actuator(spec: mujoco.MjSpec, joint: str, stiffness: float, damping: float, force: float) -> None:
    """Add a position servo, or a velocity servo where ``stiffness`` is 0."""
    gain = stiffness if stiffness > 0.0 else damping
    spec.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[gain] + [0.0] * 9,
        biasprm=[0.0, -stiffness, -damping] + [0.0] * 7,
        forcelimited=True,
        forcerange=[-force, force],
    )
