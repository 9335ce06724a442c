"""The simulation on the wall clock, on its own thread: physics, sensors when they are due, commands as they come.

Physics and graphics stay on one thread because a graphics context belongs to one; ROS callbacks only leave commands
and requests here. Nothing in this module knows ROS.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import Velocity, clamp
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import SuccessTest
from mobile_vla_sim.world.model import TIMESTEP_S
from mobile_vla_sim.world.odometry import Odometry, OdometryKind
from mobile_vla_sim.world.ranging import measure
from mobile_vla_sim.world.world import Pose, Truth, World

_MAX_LAG_S = 0.25
"""Further behind the wall clock than this, time is given up instead of caught up: a burst of physics would starve."""
_FACTOR_WINDOW_S = 2.0


@dataclass(frozen=True)
class SimSettings:
    """Rates and limits of the running simulation."""

    camera_rate_hz: float = 15.0
    odometry_rate_hz: float = 50.0
    command_timeout_s: float = 0.5
    """A command older than this is replaced by zero, as a robot's base does."""
    odometry: OdometryKind = "drifting"
    scan_rate_hz: float = 10.0
    """Rate of the obstacle sensors."""


@dataclass(frozen=True)
class Reading:
    """Odometry, gripper and ground truth at one moment."""

    stamp_ns: int
    odometry: Pose
    """As the wheels report it."""
    velocity: Velocity
    """Measured, in the robot frame."""
    gripper: float
    truth: Truth
    target: tuple[float, float, float]
    """Where the instructed target is [m]."""
    assignment: Assignment
    reset_count: int
    success: bool


@dataclass(frozen=True)
class SimSensors:
    """Where sensor values go; called on the simulation's thread."""

    on_reading: Callable[[Reading], None]
    on_images: Callable[[int, dict[str, Image]], None]
    """Capture time [ns] and camera -> RGB uint8 ``[height, width, 3]``."""
    on_scans: Callable[[int, list[npt.NDArray[np.float32]]], None]
    """Capture time [ns] and the distances that each obstacle sensor measures [m], in the contract's order."""


class SimThread:
    """Runs one world in real time until :meth:`close`."""

    def __init__(
        self,
        contract: Contract,
        assignment: Assignment,
        settings: SimSettings,
        sensors: SimSensors,
        now_ns: Callable[[], int],
        on_failure: Callable[[str], None],
    ) -> None:
        """``now_ns`` gives the stamps' clock [ns]; ``on_failure`` gets the traceback if the simulation dies."""
        self._contract, self._settings, self._sensors = contract, settings, sensors
        self._now_ns, self._on_failure = now_ns, on_failure
        self._assignment, self._success = assignment, False
        self._success_test = SuccessTest(assignment.goal, assignment.scene)
        self._odometry: Odometry
        self._reset_count = 0
        self._command: tuple[float, Velocity] = (-math.inf, Velocity())
        self._gripper: float | None = None
        self._before_reset: float | None = None
        """Gripper command that was in effect before the reset."""
        self._requests: deque[tuple[Assignment, Future[None]]] = deque()
        self._stop = threading.Event()
        self._progress: deque[tuple[float, float]] = deque()
        self.given_up_s = 0.0
        """Time that was skipped because the machine was too slow [s]."""
        self.frames = 0
        """Times the cameras were rendered."""
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)

    def start(self) -> None:
        """Begin; the first scene is reset on the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and release the graphics context."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def command(self, velocity: Velocity) -> None:
        """Drive at ``velocity`` (clamped to the contract) until the next command or the timeout."""
        can_strafe = self._contract.base == "holonomic"
        self._command = (time.monotonic(), clamp(velocity, self._contract.limits, can_strafe=can_strafe))

    def command_gripper(self, position: float) -> None:
        """Move the gripper to ``position``, 0 open .. 1 closed.

        A gate repeats the last command forever. After a reset that one is ignored until another one comes: a scene
        that starts with an open gripper, or with something in it, must not end up as the scene before.
        """
        if position != self._before_reset:
            self._gripper, self._before_reset = position, None

    def reset(self, assignment: Assignment) -> Future[None]:
        """Ask for a new scene. Once the future is done, everything that was published shows it."""
        done: Future[None] = Future()
        self._requests.append((assignment, done))
        return done

    @property
    def assignment(self) -> Assignment:
        """Assignment of the running scene."""
        return self._assignment

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds per second of wall clock over the last two seconds."""
        samples = list(self._progress)
        if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
            return 0.0
        return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])

    def _run(self) -> None:
        world: World | None = None
        try:
            world = World(self._contract)
            self._begin(world, self._assignment)
            self._loop(world)
        except Exception:
            self._on_failure(traceback.format_exc())
        finally:
            if world is not None:
                world.close()

    def _loop(self, world: World) -> None:
        next_step = time.monotonic()
        steps = 0
        camera_due = reading_due = scan_due = 0.0
        while not self._stop.is_set():
            self._answer_requests(world)
            now = time.monotonic()
            if now - next_step > _MAX_LAG_S:
                self.given_up_s += now - next_step
                next_step = now
            while next_step <= now:
                self._step(world, now)
                next_step += TIMESTEP_S
                steps += 1
            self._note_progress(now, steps * TIMESTEP_S)
            if now >= reading_due:
                self._read(world)
                reading_due = _next_due(reading_due, now, self._settings.odometry_rate_hz)
            if now >= camera_due:
                self._look(world)
                camera_due = _next_due(camera_due, now, self._settings.camera_rate_hz)
            if self._contract.obstacles and now >= scan_due:
                self._scan(world)
                scan_due = _next_due(scan_due, now, self._settings.scan_rate_hz)
            wake = min(next_step, reading_due, camera_due)
            time.sleep(max(0.0, wake - time.monotonic()))

    def _answer_requests(self, world: World) -> None:
        while self._requests:
            assignment, done = self._requests.popleft()
            self._begin(world, assignment)
            done.set_result(None)

    def _begin(self, world: World, assignment: Assignment) -> None:
        scene = assignment.scene
        world.reset(scene)
        self._assignment, self._success = assignment, False
        self._success_test = SuccessTest(assignment.goal, scene)
        random = np.random.default_rng([scene.seed, assignment.place])
        self._odometry = Odometry(random, scene.start, self._settings.odometry)
        self._command = (-math.inf, Velocity())
        self._gripper, self._before_reset = None, self._before_reset if self._gripper is None else self._gripper
        self._reset_count += 1
        # At once, so that nothing of the old scene can be taken for the new one.
        self._look(world)
        self._read(world)

    def _step(self, world: World, now: float) -> None:
        received, velocity = self._command
        world.command(velocity if now - received <= self._settings.command_timeout_s else Velocity())
        if self._gripper is not None:
            world.command_gripper(self._gripper)
        world.step()
        self._success = self._success_test.update(world.truth)

    def _read(self, world: World) -> None:
        truth, assignment = world.truth, self._assignment
        pose, turns = truth.pose, self._contract.base == "differential"
        reading = Reading(
            self._now_ns(),
            Pose(*self._odometry.update(pose.x, pose.y, pose.yaw, turns=turns)),
            world.velocity,
            world.gripper_position,
            truth,
            assignment.goal.target(assignment.scene, truth),
            assignment,
            self._reset_count,
            self._success,
        )
        self._sensors.on_reading(reading)

    def _look(self, world: World) -> None:
        stamp_ns = self._now_ns()
        self._sensors.on_images(stamp_ns, {name: world.render(name) for name in self._contract.cameras})
        self.frames += 1

    def _scan(self, world: World) -> None:
        sensors = self._contract.obstacles.sensors if self._contract.obstacles else []
        self._sensors.on_scans(self._now_ns(), [measure(world, sensor) for sensor in sensors])

    def _note_progress(self, now: float, simulated_s: float) -> None:
        self._progress.append((now, simulated_s))
        while now - self._progress[0][0] > _FACTOR_WINDOW_S:
            self._progress.popleft()


def _next_due(due: float, now: float, rate_hz: float) -> float:
    """The next time on the rate's grid; a grid that was missed is begun anew, never caught up with a burst."""
    following = due + 1.0 / rate_hz
    return following if following > now else now + 1.0 / rate_hz
