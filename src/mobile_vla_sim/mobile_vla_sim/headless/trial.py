"""One trial: a policy drives one scene until it succeeds or its time is over, and the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_sim.headless.conditions import Condition, Images, images_under, state_under
from mobile_vla_sim.headless.driver import PolicyDriver
from mobile_vla_sim.headless.robot import HeadlessRobot
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.success import SuccessTest
from mobile_vla_sim.tasks.watch import Watch
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.world import World


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
    on_images: Callable[[Images], None] | None = None
    """Is given the images of every control period."""
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
        watch = Watch(assignment)
        driver = PolicyDriver(
            self.policy, world.contract, said, bool(scene.held), replan=self.replan, latencies_s=self.latencies_s
        )
        path: list[tuple[float, float]] = []
        step = collisions = 0
        touching = False
        limit_s = self.time_limit_s or assignment.task.time_limit_s
        while robot.time_s < limit_s and not robot.success:
            snapshot = robot.observe()
            path.append((round(snapshot.truth.pose.x, 3), round(snapshot.truth.pose.y, 3)))
            images = images_under(condition, snapshot.images, step, others or [])
            if self.on_images is not None:
                self.on_images(images)
            velocity = driver.command(images, state_under(condition, snapshot.state))
            robot.advance(velocity, float(driver.closed))
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
