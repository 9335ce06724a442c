"""The running simulation: reset to a scene, command, step, look. One thread owns a world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.image import Image
from mobile_vla_sim.world.access import drawer_opening
from mobile_vla_sim.world.arm import Arm, Grip
from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M
from mobile_vla_sim.world.model import (
    CAMERA_HEIGHT_M,
    STATIC_FOVY_DEG,
    VISIBLE_HALF_M,
    RenderQuality,
    build_spec,
)
from mobile_vla_sim.world.renderer import Renderer
from mobile_vla_sim.world.robot import GRIPPER_FOVY_DEG
from mobile_vla_sim.world.scene import Scene
from mobile_vla_sim.world.shapes import STOPS_ROBOT

FOVY_DEG = {"static": STATIC_FOVY_DEG, "gripper": GRIPPER_FOVY_DEG}
"""Vertical field of view of each camera [deg]."""

_PRESSED_N = 5.0
"""Least force of a contact of the base that counts as a collision."""


def require_cameras(contract: Contract) -> None:
    """Raise ContractError if the contract has a camera that the simulated robot lacks."""
    if unknown := [name for name in contract.cameras if name not in FOVY_DEG]:
        raise ContractError(f"the simulator has the cameras {' and '.join(FOVY_DEG)}, not {', '.join(unknown)}")


@dataclass(frozen=True)
class Pose:
    """Where the robot is in the world frame [m, m, rad]."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True)
class Truth:
    """Ground truth for the expert and the success test; a policy never sees it."""

    time_s: float
    pose: Pose
    aim: float
    """Direction of the arm in the base's frame [rad]."""
    grip: Grip
    held: str
    """Name of the object in the gripper, ``handle``, or empty."""
    closings: int
    """Number of commands to close the gripper."""
    drawer_m: float
    objects: dict[str, tuple[float, float, float]]
    """Where the foot of each object is [m]."""
    commanded_speed_m_s: float


class World:
    """Flat and robot of one contract. Not thread-safe: the thread that renders first owns the graphics context."""

    model: mujoco.MjModel
    data: mujoco.MjData
    arm: Arm
    scene: Scene

    def __init__(self, contract: Contract, *, image_size: int | None = None, high_quality: bool = False) -> None:
        """``image_size`` overrides the contract's image size [px]; ``high_quality`` adds shadows and smooth edges."""
        require_cameras(contract)
        self.contract = contract
        self._sizes = {
            name: (image_size or camera.width, image_size or camera.height) for name, camera in contract.cameras.items()
        }
        width, height = (max(size[axis] for size in self._sizes.values()) for axis in (0, 1))
        self._quality = RenderQuality(width, height, 8, 4096, 64) if high_quality else RenderQuality(width, height)
        self._high_quality = high_quality
        self._renderer: Renderer | None = None
        self._rendered: mujoco.MjModel | None = None
        self._differential = contract.base == "differential"

    def reset(self, scene: Scene) -> None:
        """Build the scene and put the robot at its start; time starts at zero."""
        self.scene = scene
        self.model = self._describe(scene).compile()
        self.data = mujoco.MjData(self.model)
        joint = {self.model.joint(i).name: i for i in range(self.model.njnt)}
        self._qpos = {name: int(self.model.jnt_qposadr[i]) for name, i in joint.items()}
        self._qvel = {name: int(self.model.jnt_dofadr[i]) for name, i in joint.items()}
        self._actuator = {self.model.actuator(i).name: i for i in range(self.model.nu)}
        self._body = {self.model.body(i).name: i for i in range(self.model.nbody)}
        self._base = self.model.geom("base").id
        x, y, yaw = scene.start
        self.data.qpos[self._qpos["base_x"]], self.data.qpos[self._qpos["base_y"]] = x, y
        if self._differential:
            self.data.qpos[self._qpos["base_yaw"]] = yaw
        self.data.qpos[self._qpos["drawer"]] = drawer_opening(scene.drawer_open)
        self.command(Velocity())
        mujoco.mj_forward(self.model, self.data)
        self.arm = Arm(self.model, self.data, scene)
        mujoco.mj_forward(self.model, self.data)
        if scene.held:
            self.arm.take(scene.held)

    def _describe(self, scene: Scene) -> mujoco.MjSpec:
        return build_spec(scene, self.contract, self._quality)

    def command(self, velocity: Velocity) -> None:
        """Hold ``velocity`` (robot frame) until the next command. A holonomic base ignores the yaw rate."""
        self._velocity = velocity

    def command_gripper(self, position: float) -> None:
        """Move the gripper to ``position``, 0 open .. 1 closed."""
        self.arm.command(position)

    def step(self, steps: int = 1) -> None:
        """Advance by ``steps`` of :data:`TIMESTEP_S`."""
        for _ in range(steps):
            self._drive()
            self.arm.update(self._velocity)
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
        return self.arm.position

    @property
    def drawer_m(self) -> float:
        """Opening of the drawer [m], 0 .. ``DRAWER_TRAVEL_M``."""
        return min(max(float(self.data.qpos[self._qpos["drawer"]]), 0.0), DRAWER_TRAVEL_M)

    @property
    def touching(self) -> bool:
        """True while the base is pressed against a wall, furniture or the drawer."""
        contacts, bits = self.data.contact, self.model.geom_contype
        for a, b, row in zip(contacts.geom1, contacts.geom2, contacts.efc_address, strict=True):
            other = b if a == self._base else a if b == self._base else None
            if other is not None and row >= 0 and bits[other] & STOPS_ROBOT and self.data.efc_force[row] > _PRESSED_N:
                return True
        return False

    def object_position(self, name: str) -> tuple[float, float, float]:
        """Return where the foot of an object is [m]."""
        x, y, z = self.data.xpos[self._body[name]]
        return float(x), float(y), float(z)

    @property
    def truth(self) -> Truth:
        """Return the ground truth of this moment."""
        arm = self.arm
        return Truth(
            self.time_s,
            self.pose,
            arm.aim,
            arm.state,
            arm.held,
            arm.closings,
            self.drawer_m,
            {item.name: self.object_position(item.name) for item in self.scene.objects},
            self.commanded_speed_m_s,
        )

    def pixel(self, x: float, y: float, z: float) -> tuple[int, int]:
        """Return (column, row) of a world point in the static camera's image; (-1, -1) outside it."""
        width, height = self._sizes["static"]
        scale = CAMERA_HEIGHT_M / (CAMERA_HEIGHT_M - z) / VISIBLE_HALF_M
        column = math.floor((1.0 + x * scale) / 2.0 * width)
        row = math.floor((1.0 - y * scale) / 2.0 * height)
        return (column, row) if 0 <= column < width and 0 <= row < height else (-1, -1)

    def render(self, camera: str) -> Image:
        """Return what ``camera`` (``static`` or ``gripper``) sees now: RGB uint8 ``[height, width, 3]``."""
        if self._renderer is None:
            quality = self._quality
            self._renderer = Renderer(self.model, quality.width, quality.height, shadows=self._high_quality)
        elif self._rendered is not self.model:
            self._renderer.use(self.model)
        self._rendered = self.model
        return self._renderer.render(self.data, camera, *self._sizes[camera])

    def close(self) -> None:
        """Release the graphics context; call it in the thread that rendered."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._rendered = None
