"""The robot at its control rate without ROS and without waiting: observe, command one period, observe again.

Sensors are as late as on a live robot: cameras run on a clock of their own, so an image is up to one camera period old
when the control tick uses it, and carries the time at which it was taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import Velocity
from mobile_vla_data.image import Image
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import SuccessTest
from mobile_vla_sim.world.model import TIMESTEP_S
from mobile_vla_sim.world.odometry import Odometry, OdometryKind
from mobile_vla_sim.world.world import Truth, World

CAMERA_RATE_HZ = 15.0
ODOMETRY_AGE_STEPS = 1
"""Odometry is one physics step old at a control tick."""
_STEP_NS = round(TIMESTEP_S * 1e9)


@dataclass(frozen=True)
class Snapshot:
    """Observation at one control tick, with the ground truth."""

    stamp_ns: int
    images: dict[str, Image]
    state: npt.NDArray[np.float32]
    """float32 ``[3]``: x [m], y [m], gripper."""
    stamps_ns: dict[str, int]
    truth: Truth
    """Ground truth at the tick itself, for the expert and the success test."""
    target: tuple[int, int]
    """(column, row) of the instructed target in the static image; (-1, -1) where it is not in it."""
    robot: tuple[int, int]
    """(column, row) of the robot's middle in the static image, for diagnostics."""


class HeadlessRobot:
    """One run of one scene in a world that it resets first."""

    def __init__(
        self,
        world: World,
        assignment: Assignment,
        random: np.random.Generator,
        epoch_ns: int,
        odometry: OdometryKind = "drifting",
    ) -> None:
        """``epoch_ns`` is the stamp of simulated time zero; ``random`` decides sensor timing and drift."""
        self._world, self._epoch_ns = world, epoch_ns
        self.assignment, scene = assignment, assignment.scene
        self.success_test = SuccessTest(assignment.goal, scene)
        self.success = False
        self._steps_per_tick = round(world.contract.period_s / TIMESTEP_S)
        self._camera_phase_s = float(random.uniform(0.0, 1.0 / CAMERA_RATE_HZ))
        self._tick = 0
        world.reset(scene)
        self._odometry = Odometry(np.random.default_rng(random.integers(1 << 63)), scene.start, odometry)
        self._images = self._look()
        self._image_step = -self._image_age_steps()
        self._state = self._measure()
        self._state_step = -ODOMETRY_AGE_STEPS

    @property
    def time_s(self) -> float:
        """Simulated time of the current tick since the reset [s]."""
        return self._tick * self._world.contract.period_s

    def observe(self) -> Snapshot:
        """The observation of the current tick."""
        stamps = dict.fromkeys(self._images, self._epoch_ns + self._image_step * _STEP_NS)
        measured_ns = self._epoch_ns + self._state_step * _STEP_NS
        stamps |= dict.fromkeys(self._world.contract.state_streams, measured_ns)
        stamp_ns = self._epoch_ns + self._tick * self._steps_per_tick * _STEP_NS
        world, truth = self._world, self._world.truth
        target = world.pixel(*self.assignment.goal.target(self.assignment.scene, truth))
        robot = world.pixel(truth.pose.x, truth.pose.y, 0.2)
        return Snapshot(stamp_ns, self._images, self._state, stamps, truth, target, robot)

    def advance(self, velocity: Velocity, gripper: float = 0.0) -> None:
        """Execute a command for one control period; afterwards the next tick can be observed."""
        self._world.command(velocity)
        self._world.command_gripper(gripper)
        self._tick += 1
        end = self._tick * self._steps_per_tick
        now = end - self._steps_per_tick
        # Measurements lie within the period, each at its own time before the tick.
        measurements = (
            (end - self._image_age_steps(), self._take_images),
            (end - ODOMETRY_AGE_STEPS, self._take_state),
        )
        for step, measure in sorted(measurements, key=lambda item: item[0]):
            self._world.step(step - now)
            measure(step)
            now = step
        self._world.step(end - now)
        self.success = self.success_test.update(self._world.truth)

    def _image_age_steps(self) -> int:
        """Return how many physics steps before the current tick the newest camera frame was taken."""
        age_s = (self.time_s - self._camera_phase_s) % (1.0 / CAMERA_RATE_HZ)
        return min(int(age_s / TIMESTEP_S), self._steps_per_tick - 1)

    def _take_images(self, step: int) -> None:
        self._images, self._image_step = self._look(), step

    def _take_state(self, step: int) -> None:
        self._state, self._state_step = self._measure(), step

    def _look(self) -> dict[str, Image]:
        return {name: self._world.render(name) for name in self._world.contract.cameras}

    def _measure(self) -> npt.NDArray[np.float32]:
        pose = self._world.pose
        turns = self._world.contract.base == "differential"
        x, y, _ = self._odometry.update(pose.x, pose.y, pose.yaw, turns=turns)
        gripper = self._world.gripper_position if self._world.contract.has_gripper else 0.0
        return np.array([x, y, gripper], dtype=np.float32)
