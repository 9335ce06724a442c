"""One trial: a policy drives one scene until it succeeds or its time is over, and the result."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec
from mobile_vla_data.image import Image
from mobile_vla_sim.expert.noise import limited
from mobile_vla_sim.headless.conditions import Condition, Images, images_under, state_under
from mobile_vla_sim.headless.robot import HeadlessRobot
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import SuccessTest
from mobile_vla_sim.tasks.watch import Watch
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.world import World


class Chunk(Protocol):
    """Prediction of a policy."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon, 2]``: delta_x, delta_y [m]."""

    @property
    def gripper(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon]``: probability that the gripper is to be closed."""


class DrivingPolicy(Protocol):
    """Interface of a policy for trials; ``mobile_vla_policy.policy.Policy`` implements it."""

    @property
    def horizon(self) -> int:
        """Actions of a chunk."""

    def initial_memory(self) -> Any:
        """Return the memory before the first frame."""

    def predict(
        self,
        images: Mapping[str, Image],
        state: npt.NDArray[np.float32],
        instruction: str,
        memory: Any,
        *,
        elapsed_periods: int,
    ) -> tuple[Chunk, Any]:
        """Return the next chunk and the new memory."""


@dataclass(frozen=True)
class Trial:
    """Result of one scene."""

    index: int
    seed: int
    condition: str
    task: str
    """Task that the instruction is of."""
    category: str
    scene_task: str
    """Task that the scene was drawn for; differs from ``task`` if the instruction is swapped."""
    family: str
    """Family of the floor plan."""
    instruction: str
    success: bool
    """True if the goal of the instruction was achieved."""
    scene_success: bool
    """True if the goal of the scene was achieved; equals ``success`` unless the instruction is swapped."""
    reason: str
    """Why it failed; empty when it succeeded."""
    duration_s: float
    """Simulated time until success, or the time limit [s]."""
    final_distance_m: float
    """Straight distance from the robot's last position to where the expert would have stopped [m]."""
    collisions: int
    """Times that the base ran into a wall or furniture."""
    path_m: float
    """Length of the driven path [m]."""
    shortest_path_m: float
    """Length of the expert's path [m]."""
    path: list[tuple[float, float]]
    """Positions at the control ticks [m]."""


@dataclass
class TrialRunner:
    """Runs trials of one policy in one world."""

    world: World
    policy: DrivingPolicy
    replan: int = 1
    """Actions of a chunk that are executed before the next prediction."""
    time_limit_s: float | None = None
    """Simulated time that a trial may take; None: the task's limit [s]."""
    odometry: OdometryKind = "drifting"
    latencies_s: list[float] = field(default_factory=list)
    """Seconds that each prediction took."""

    def run(
        self,
        index: int,
        assignment: Assignment,
        condition: Condition,
        *,
        instruction: str = "",
        scene_assignment: Assignment | None = None,
        others: list[Images] | None = None,
    ) -> Trial:
        """Drive one scene.

        Args:
            index: number of the trial.
            assignment: what is asked for.
            condition: what the policy sees.
            instruction: instead of the assignment's.
            scene_assignment: what the scene was drawn for, where that is another assignment.
            others: images of another demonstration, for the condition that shows them.

        Raises:
            ValueError: the policy's action is not finite.
        """
        world, scene = self.world, assignment.scene
        said, drawn_for = instruction or assignment.language, scene_assignment or assignment
        robot = HeadlessRobot(world, assignment, np.random.default_rng([scene.seed, index]), 1, self.odometry)
        drawn_test, drawn_success = SuccessTest(drawn_for.goal, scene), False
        watch, driver = Watch(assignment), _Driver(self, said)
        path: list[tuple[float, float]] = []
        step = collisions = 0
        touching = False
        limit_s = self.time_limit_s or assignment.task.time_limit_s
        while robot.time_s < limit_s and not robot.success:
            snapshot = robot.observe()
            path.append((round(snapshot.truth.pose.x, 3), round(snapshot.truth.pose.y, 3)))
            images = images_under(condition, snapshot.images, step, others or [])
            driver.drive(robot, images, state_under(condition, snapshot.state))
            truth = world.truth
            watch.see(truth)
            drawn_success = drawn_test.update(truth) or drawn_success
            touches = world.touching
            collisions += touches and not touching
            touching = touches
            step += 1
        pose = world.pose
        return Trial(
            index,
            scene.seed,
            condition.value,
            assignment.task.name,
            assignment.category,
            drawn_for.task.name,
            scene.plan.family,
            said,
            robot.success,
            drawn_success if scene_assignment else robot.success,
            "" if robot.success else watch.reason().value,
            round(robot.time_s, 2),
            round(math.dist((pose.x, pose.y), assignment.stand), 3),
            collisions,
            round(sum(math.dist(a, b) for a, b in pairwise(path)), 3),
            round(assignment.path_m, 3),
            path,
        )


class _Driver:
    """A policy with its memory, its pending actions and its gripper."""

    def __init__(self, runner: TrialRunner, instruction: str) -> None:
        self._runner, self._instruction = runner, instruction
        self._codec, self._contract = ActionCodec(runner.world.contract), runner.world.contract
        self._memory = runner.policy.initial_memory()
        self._chunk: Chunk | None = None
        self._next = runner.replan
        self._closed: bool | None = None

    def drive(self, robot: HeadlessRobot, images: Images, state: npt.NDArray[np.float32]) -> None:
        """Execute the next action for one control period, predicting first if none is left."""
        runner = self._runner
        if self._closed is None:
            self._closed = bool(robot.assignment.scene.held)
        if self._next >= runner.replan:
            began = time.perf_counter()
            self._chunk, self._memory = runner.policy.predict(
                images, state, self._instruction, self._memory, elapsed_periods=runner.replan
            )
            runner.latencies_s.append(time.perf_counter() - began)
            self._next = 0
        assert self._chunk is not None
        velocity = self._codec.to_velocity(*(float(value) for value in self._chunk.deltas[self._next]))
        if not velocity.finite:
            raise ValueError(f"the policy's action is not finite in scene {robot.assignment.scene.seed}")
        self._closed = self._contract.thresholds.decide(float(self._chunk.gripper[self._next]), self._closed)
        self._next += 1
        robot.advance(limited(velocity, self._contract), float(self._closed))
