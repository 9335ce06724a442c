"""The arm's own controller: direction of the arm, and effect of closing and opening the gripper.

The arm belongs to the gripper and takes no other commands than ``gripper 0 .. 1``:

- idle, it points where the base is told to drive, and keeps pointing there when the base stands;
- closing, it reaches for the nearest object or drawer handle in front of it, lowers, grips and lifts; with nothing in
  reach it closes on nothing;
- opening, it lowers the held object onto the surface below, releases it and lifts; a gripped handle is released in
  place.
"""

from __future__ import annotations

import math
from enum import Enum

import mujoco
import numpy as np

from mobile_vla_data.action import Velocity
from mobile_vla_sim.world.access import NOMINAL_REACH_M, REACH_M, sees
from mobile_vla_sim.world.model import TIMESTEP_S
from mobile_vla_sim.world.objects import OBJECT_KINDS
from mobile_vla_sim.world.robot import CARRY_M, FINGER_TRAVEL_M
from mobile_vla_sim.world.scene import Scene
from mobile_vla_sim.world.shapes import CARRIES

HANDLE = "handle"
_AIM_RATE_RAD_S = 6.0
_AIM_SPEED_M_S = 0.05
"""Commanded speed from which on the idle arm follows the direction of driving."""
SIDEWAYS_RAD = math.radians(75.0)
"""Largest angle between the arm's direction and an object within its reach."""
_BELOW_TOP_M = 0.03
"""An object is gripped this far below its top."""
_GIVE_UP_S = 1.2
_SLIP_N = 80.0
"""A handle slips out of the gripper when it is pulled harder than this."""
_HANDLE_GRIP = 0.8


class Grip(Enum):
    """State of the gripper."""

    OPEN = "open"
    REACHING = "reaching"
    HOLDING = "holding"
    RELEASING = "releasing"
    EMPTY = "empty"
    """Closed on nothing."""


class Arm:
    """Controls turret, reach, lift and fingers of one model; :meth:`update` runs before every physics step."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, scene: Scene) -> None:
        self._model, self._data, self._scene = model, data, scene
        self.state, self.held, self.closings = Grip.OPEN, "", 0
        """State of the gripper, name of what it holds (an object or ``handle``), and number of closings."""
        self._heading = 0.0
        self._wanted: str = ""
        self._since_s = 0.0
        self._closed = False
        self._actuator = {model.actuator(i).name: i for i in range(model.nu)}
        self._address = {model.joint(i).name: int(model.jnt_qposadr[i]) for i in range(model.njnt)}
        self._hand, self._robot = model.body("hand").id, model.body("robot").id
        self._geom = {name: model.geom(name).id for name in (*OBJECT_KINDS, HANDLE)}
        self._equality = {model.equality(i).name: i for i in range(model.neq)}
        self._aim(0.0, NOMINAL_REACH_M, CARRY_M)
        self._fingers(0.0)
        for name in ("left_finger", "right_finger"):
            data.qpos[self._address[name]] = FINGER_TRAVEL_M

    def take(self, name: str) -> None:
        """Start with an object in the gripper."""
        kind, data = OBJECT_KINDS[name], self._data
        for finger in ("left_finger", "right_finger"):
            data.qpos[self._address[finger]] = (1.0 - kind.grip) * FINGER_TRAVEL_M
        mujoco.mj_forward(self._model, data)
        address = self._address[name]
        data.qpos[address : address + 3] = data.xpos[self._hand] - [0.0, 0.0, kind.height_m - _BELOW_TOP_M]
        data.qpos[address + 3 : address + 7] = [1.0, 0.0, 0.0, 0.0]
        mujoco.mj_forward(self._model, data)
        self._closed = True
        self._attach(name)

    def command(self, position: float) -> None:
        """Close (above one half) or open the gripper."""
        closed = position > 0.5
        if closed == self._closed:
            return
        self._closed, self._since_s = closed, float(self._data.time)
        if closed:
            self.closings += 1
            self._wanted = self._nearest()
            self.state = Grip.REACHING if self._wanted else Grip.EMPTY
        elif self.state is Grip.HOLDING and self.held != HANDLE:
            self.state = Grip.RELEASING
        else:
            self._detach()
            self.state = Grip.OPEN

    @property
    def position(self) -> float:
        """Where the gripper is, 0 open .. 1 closed."""
        return min(max(1.0 - float(self._data.qpos[self._address["left_finger"]]) / FINGER_TRAVEL_M, 0.0), 1.0)

    @property
    def aim(self) -> float:
        """Direction in which the arm points, in the base's frame [rad]."""
        return float(self._data.qpos[self._address["turret"]])

    @property
    def point(self) -> tuple[float, float, float]:
        """Position of the gripper in the world [m]."""
        x, y, z = self._data.xpos[self._hand]
        return float(x), float(y), float(z)

    def update(self, velocity: Velocity) -> None:
        """Set the servos for the next physics step; ``velocity`` is what the base is told to do."""
        {
            Grip.OPEN: self._idle,
            Grip.EMPTY: self._idle,
            Grip.REACHING: self._reach,
            Grip.HOLDING: self._hold,
            Grip.RELEASING: self._release,
        }[self.state](velocity)

    def _idle(self, velocity: Velocity) -> None:
        self._follow(velocity)
        self._fingers(1.0 if self.state is Grip.EMPTY else 0.0)
        # Fingers first, so that nothing that was set down is lifted again.
        waiting = self.state is Grip.OPEN and self.position > 0.3 and self._data.time - self._since_s < 0.3
        if not waiting:
            self._aim(self._heading, NOMINAL_REACH_M, CARRY_M)

    def _reach(self, velocity: Velocity) -> None:
        x, y, z = self._where(self._wanted)
        distance, bearing = self._polar(x, y)
        if not REACH_M[0] - 0.05 < distance < REACH_M[1] + 0.04 or self._data.time - self._since_s > _GIVE_UP_S:
            self.state = Grip.EMPTY
            return
        self._heading = bearing
        self._aim(bearing, distance, z)
        hx, hy, hz = self.point
        over = math.hypot(hx - x, hy - y) < 0.05
        if not over:
            # Sideways at carrying height, then down.
            self._aim(bearing, distance, max(CARRY_M - 0.06, z))
        grip = _HANDLE_GRIP if self._wanted == HANDLE else OBJECT_KINDS[self._wanted].grip
        if over and abs(hz - z) < 0.03:
            self._fingers(grip)
            if self.position > grip - 0.06:
                self._attach(self._wanted)

    def _hold(self, velocity: Velocity) -> None:
        if self.held == HANDLE:
            if self._pull_n() > _SLIP_N:
                self._detach()
                self.state = Grip.EMPTY
            return
        self._follow(velocity)
        self._fingers(OBJECT_KINDS[self.held].grip)
        self._aim(self._heading, NOMINAL_REACH_M, CARRY_M)

    def _pull_n(self) -> float:
        """Force on the gripped handle [N]."""
        data, index = self._data, self._equality[HANDLE]
        rows = (data.efc_type == mujoco.mjtConstraint.mjCNSTR_EQUALITY) & (data.efc_id == index)
        return float(np.linalg.norm(data.efc_force[rows]))

    def _release(self, velocity: Velocity) -> None:
        kind = OBJECT_KINDS[self.held]
        x, y, z = self.point
        below = max((p.height_m for p in self._scene.pieces if p.footprint.contains(x, y)), default=0.0)
        target = below + kind.height_m - _BELOW_TOP_M
        self._aim(self._heading, NOMINAL_REACH_M, target)
        if z - target < 0.015 or self._data.time - self._since_s > _GIVE_UP_S:
            self._detach()
            self.state, self._since_s = Grip.OPEN, float(self._data.time)

    def _follow(self, velocity: Velocity) -> None:
        if math.hypot(velocity.x, velocity.y) < _AIM_SPEED_M_S:
            return
        # A base that cannot strafe keeps its arm in front of it.
        wanted = 0.0 if "base_yaw" in self._address else math.atan2(velocity.y, velocity.x)
        turn = math.remainder(wanted - self._heading, math.tau)
        most = _AIM_RATE_RAD_S * TIMESTEP_S
        self._heading = math.remainder(self._heading + max(-most, min(most, turn)), math.tau)

    def _aim(self, heading: float, reach_m: float, height_m: float) -> None:
        ctrl, turned = self._data.ctrl, self._data.qpos[self._address["turret"]]
        ctrl[self._actuator["turret"]] = turned + math.remainder(heading - turned, math.tau)
        ctrl[self._actuator["reach"]] = reach_m - NOMINAL_REACH_M
        ctrl[self._actuator["lift"]] = height_m - CARRY_M

    def _fingers(self, position: float) -> None:
        for name in ("left_finger", "right_finger"):
            self._data.ctrl[self._actuator[name]] = (1.0 - position) * FINGER_TRAVEL_M

    def _where(self, name: str) -> tuple[float, float, float]:
        """Point at which the gripper grips something."""
        x, y, z = self._data.geom_xpos[self._geom[name]]
        if name == HANDLE:
            return float(x), float(y), float(z)
        return float(x), float(y), float(z) + OBJECT_KINDS[name].height_m / 2 - _BELOW_TOP_M

    def _polar(self, x: float, y: float) -> tuple[float, float]:
        """Distance from the robot's centre and direction in the base's frame."""
        dx, dy = x - float(self._data.xpos[self._robot][0]), y - float(self._data.xpos[self._robot][1])
        yaw = float(self._data.qpos[self._address["base_yaw"]]) if "base_yaw" in self._address else 0.0
        return math.hypot(dx, dy), math.atan2(dy, dx) - yaw

    def _nearest(self) -> str:
        """Name of what is nearest to the gripper among all that is in reach; empty: nothing."""
        centre = (float(self._data.xpos[self._robot][0]), float(self._data.xpos[self._robot][1]))
        best, least = "", math.inf
        for name in (*OBJECT_KINDS, HANDLE):
            x, y, _ = self._where(name)
            distance, bearing = self._polar(x, y)
            beside = abs(math.remainder(bearing - self.aim, math.tau))
            if not REACH_M[0] < distance < REACH_M[1] or beside > SIDEWAYS_RAD or not sees(self._scene, centre, (x, y)):
                continue
            hx, hy, _ = self.point
            if math.hypot(x - hx, y - hy) < least:
                best, least = name, math.hypot(x - hx, y - hy)
        return best

    def _attach(self, name: str) -> None:
        data, index = self._data, self._equality[name]
        other = self._model.body("drawer" if name == HANDLE else name).id
        rotation = data.xmat[self._hand].reshape(3, 3)
        offset = rotation.T @ (data.xpos[other] - data.xpos[self._hand])
        values = self._model.eq_data[index]
        if name == HANDLE:
            # Hold the point between the fingers, whatever the angle.
            values[0:3] = 0.0
            values[3:6] = data.xmat[other].reshape(3, 3).T @ (data.xpos[self._hand] - data.xpos[other])
        else:
            inverse, relative = np.zeros(4), np.zeros(4)
            mujoco.mju_negQuat(inverse, data.xquat[self._hand])
            mujoco.mju_mulQuat(relative, inverse, data.xquat[other])
            values[0:3], values[3:6], values[6:10], values[10] = 0.0, offset, relative, 1.0
            self._model.geom_conaffinity[self._geom[name]] = 0
        data.eq_active[index] = 1
        self.state, self.held = Grip.HOLDING, name

    def _detach(self) -> None:
        if not self.held:
            return
        self._data.eq_active[self._equality[self.held]] = 0
        if self.held != HANDLE:
            self._model.geom_conaffinity[self._geom[self.held]] = CARRIES
        self.held = ""
