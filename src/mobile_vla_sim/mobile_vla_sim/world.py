"""The running simulation: reset to a scene, command, step, look. One thread owns a world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_sim.flat import OBJECT_SPOTS, OBJECTS
from mobile_vla_sim.model import (
    FINGER_CLOSED_M,
    FINGER_OPEN_M,
    GRIPPER_FOVY_DEG,
    STATIC_FOVY_DEG,
    RenderQuality,
    build_model,
)
from mobile_vla_sim.scene import Scene

#: Lighting -> (ambient, diffuse of the overhead fill, diffuse of the lamp), each RGB.
_LIGHTS = {
    "day": ((0.42, 0.42, 0.42), (0.22, 0.22, 0.22), (0.38, 0.38, 0.36)),
    "artificial": ((0.42, 0.40, 0.36), (0.30, 0.28, 0.25), (0.18, 0.17, 0.15)),
    "night": ((0.33, 0.34, 0.39), (0.17, 0.18, 0.22), (0.08, 0.08, 0.11)),
}

FOVY_DEG = {"static": STATIC_FOVY_DEG, "gripper": GRIPPER_FOVY_DEG}
"""Vertical field of view of each camera [deg]."""


@dataclass(frozen=True)
class Pose:
    """Where the robot is in the world frame [m, m, rad]."""

    x: float
    y: float
    yaw: float


class World:
    """Flat and robot of one contract. Not thread-safe: the thread that renders first owns the graphics context."""

    def __init__(self, contract: Contract, *, image_size: int | None = None, high_quality: bool = False) -> None:
        """``image_size`` overrides the contract's image size [px]; ``high_quality`` adds shadows and smooth edges."""
        self.contract = contract
        self._sizes = {
            name: (image_size or camera.width, image_size or camera.height) for name, camera in contract.cameras.items()
        }
        width, height = (max(size[axis] for size in self._sizes.values()) for axis in (0, 1))
        quality = RenderQuality(width, height, 8, 4096, 64) if high_quality else RenderQuality(width, height)
        self._high_quality = high_quality
        self.model = build_model(contract, quality)
        self.data = mujoco.MjData(self.model)
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._velocity = Velocity()
        self._gripper_target = 0.0
        index = {self.model.joint(i).name: i for i in range(self.model.njnt)}
        self._qpos = {name: int(self.model.jnt_qposadr[i]) for name, i in index.items()}
        self._qvel = {name: int(self.model.jnt_dofadr[i]) for name, i in index.items()}
        self._actuator = {self.model.actuator(i).name: i for i in range(self.model.nu)}
        self._differential = contract.base == "differential"

    def reset(self, scene: Scene) -> None:
        """Put robot, objects and light where the scene says; time starts at zero, the gripper is open."""
        mujoco.mj_resetData(self.model, self.data)
        x, y, yaw = scene.start
        self.data.qpos[self._qpos["base_x"]], self.data.qpos[self._qpos["base_y"]] = x, y
        if self._differential:
            self.data.qpos[self._qpos["base_yaw"]] = yaw
        for side in ("left", "right"):
            self.data.qpos[self._qpos[f"{side}_finger"]] = FINGER_OPEN_M - FINGER_CLOSED_M
        for name, spot in zip(OBJECTS, scene.object_spots, strict=True):
            self.model.body(name).pos = OBJECT_SPOTS[spot]
        ambient, fill, lamp = (np.array(colour) * scene.tint for colour in _LIGHTS[scene.lighting])
        self.model.vis.headlight.ambient, self.model.vis.headlight.diffuse = ambient, fill
        self.model.light("lamp").diffuse = lamp
        self.command(Velocity())
        self.command_gripper(0.0)
        mujoco.mj_forward(self.model, self.data)

    def command(self, velocity: Velocity) -> None:
        """Hold ``velocity`` (robot frame) until the next command. A holonomic base ignores the yaw rate."""
        self._velocity = velocity

    def command_gripper(self, position: float) -> None:
        """Move the gripper to ``position``, 0 open .. 1 closed."""
        self._gripper_target = min(max(position, 0.0), 1.0)
        opening = (1.0 - self._gripper_target) * (FINGER_OPEN_M - FINGER_CLOSED_M)
        for side in ("left", "right"):
            self.data.ctrl[self._actuator[f"{side}_finger"]] = opening

    def step(self, steps: int = 1) -> None:
        """Advance by ``steps`` of :data:`TIMESTEP_S`."""
        for _ in range(steps):
            self._drive()
            mujoco.mj_step(self.model, self.data)

    def _drive(self) -> None:
        velocity, ctrl = self._velocity, self.data.ctrl
        if not self._differential:
            ctrl[self._actuator["base_x"]], ctrl[self._actuator["base_y"]] = velocity.x, velocity.y
            return
        yaw = self.pose.yaw
        ctrl[self._actuator["base_x"]] = velocity.x * math.cos(yaw)
        ctrl[self._actuator["base_y"]] = velocity.x * math.sin(yaw)
        ctrl[self._actuator["base_yaw"]] = velocity.yaw_rate

    @property
    def time_s(self) -> float:
        """Simulated time since the reset [s]."""
        return float(self.data.time)

    @property
    def pose(self) -> Pose:
        """Pose of the robot's base."""
        qpos = self.data.qpos
        yaw = float(qpos[self._qpos["base_yaw"]]) if self._differential else 0.0
        return Pose(float(qpos[self._qpos["base_x"]]), float(qpos[self._qpos["base_y"]]), yaw)

    @property
    def velocity(self) -> Velocity:
        """Measured velocity in the robot frame."""
        qvel, yaw = self.data.qvel, self.pose.yaw
        vx, vy = float(qvel[self._qvel["base_x"]]), float(qvel[self._qvel["base_y"]])
        rate = float(qvel[self._qvel["base_yaw"]]) if self._differential else 0.0
        return Velocity(math.cos(yaw) * vx + math.sin(yaw) * vy, math.cos(yaw) * vy - math.sin(yaw) * vx, rate)

    @property
    def commanded_speed_m_s(self) -> float:
        """Speed that the robot is told to drive at [m/s]."""
        return math.hypot(self._velocity.x, self._velocity.y)

    @property
    def gripper_position(self) -> float:
        """Where the gripper is, 0 open .. 1 closed."""
        opening = float(self.data.qpos[self._qpos["left_finger"]]) / (FINGER_OPEN_M - FINGER_CLOSED_M)
        return min(max(1.0 - opening, 0.0), 1.0)

    def render(self, camera: str) -> Image:
        """What ``camera`` (``static`` or ``gripper``) sees now: RGB uint8 ``[height, width, 3]``."""
        renderer = self._renderer(self._sizes[camera])
        renderer.update_scene(self.data, camera)
        if not self._high_quality:
            # On a CPU these cost 40 ms a frame; the flags live in the scene, which update_scene leaves alone.
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        return np.asarray(renderer.render(), dtype=np.uint8)

    def close(self) -> None:
        """Release the graphics context; call it in the thread that rendered."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}

    def _renderer(self, size: tuple[int, int]) -> mujoco.Renderer:
        if size not in self._renderers:
            self._renderers[size] = mujoco.Renderer(self.model, height=size[1], width=size[0])
        return self._renderers[size]
