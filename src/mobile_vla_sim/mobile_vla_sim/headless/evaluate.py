"""Closed-loop evaluation without ROS: a policy drives scenes that no episode was ever collected from.

The policy sees what the recorder would have recorded, and its actions go to the robot through the same conversion
and limits. Simulated time stands still while it thinks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from mobile_vla_data.action import ActionCodec
from mobile_vla_policy.policy import Policy
from mobile_vla_sim.expert import limited
from mobile_vla_sim.headless import HeadlessRobot
from mobile_vla_sim.scene import Scene, Stream, make_scene, scene_seed
from mobile_vla_sim.tasks import TASKS, SuccessTest, Task
from mobile_vla_sim.world import World

TIME_LIMIT_S = 15.0
"""Half as long again as the longest demonstration."""


@dataclass(frozen=True)
class EvaluateConfig:
    """How trials run."""

    seed: int
    tasks: tuple[str, ...]
    replan: int = 1
    """Actions of a chunk that are executed before the next prediction."""
    swap_instruction: bool = False
    """Give each scene the instruction of another room, and count who gets its way."""
    time_limit_s: float = TIME_LIMIT_S


@dataclass(frozen=True)
class Trial:
    """What came out of one scene."""

    seed: int
    task: str
    """Task of the scene; with swapped instructions the one that was not asked for."""
    instruction: str
    instructed_task: str
    success: bool
    """The room that the instruction names was reached."""
    scene_success: bool
    """The scene's own room was reached; equals ``success`` unless instructions are swapped."""
    duration_s: float
    """Simulated time until success, or the time limit [s]."""
    final_distance_m: float
    """From where it ended to the goal of the instruction, straight [m]."""
    path: list[tuple[float, float]]
    """Positions at the control ticks [m]."""


@dataclass(frozen=True)
class Report:
    """All trials and their sums."""

    trials: list[Trial]
    steps: int
    predict_p50_s: float
    predict_p99_s: float

    def as_dict(self, config: EvaluateConfig) -> dict[str, object]:
        """As JSON values."""
        count, successes = len(self.trials), sum(trial.success for trial in self.trials)
        by_task: dict[str, dict[str, int]] = {}
        for trial in self.trials:
            entry = by_task.setdefault(trial.instructed_task, {"trials": 0, "successes": 0})
            entry["trials"] += 1
            entry["successes"] += trial.success
        summary: dict[str, object] = {
            "trials": count,
            "successes": successes,
            "success_rate": round(successes / count, 4) if count else 0.0,
            "by_task": by_task,
            "seed": config.seed,
            "replan": config.replan,
            "time_limit_s": config.time_limit_s,
            "steps": self.steps,
            "predict_p50_s": self.predict_p50_s,
            "predict_p99_s": self.predict_p99_s,
        }
        if config.swap_instruction:
            summary["swap_instruction"] = True
            summary["old_room_successes"] = sum(trial.scene_success for trial in self.trials)
        return {**summary, "details": [asdict(trial) for trial in self.trials]}


class Evaluator:
    """Runs trials of one policy in one world."""

    def __init__(self, world: World, policy: Policy, config: EvaluateConfig) -> None:
        """Raises ValueError when ``replan`` exceeds the policy's horizon."""
        if not 1 <= config.replan <= policy.horizon:
            raise ValueError(f"--replan is {config.replan}; the policy's chunks have 1 .. {policy.horizon} actions")
        self._world, self._policy, self._config = world, policy, config
        self._codec = ActionCodec(world.contract)
        self._latencies_s: list[float] = []

    def run(self, trials: int) -> Iterator[Trial]:
        """Run trials 0 .. ``trials`` - 1 of the seed."""
        for index in range(trials):
            seed = scene_seed(Stream.EVALUATION, self._config.seed, index)
            task = self._config.tasks[index % len(self._config.tasks)]
            scene = make_scene(seed, task, random_yaw=self._world.contract.base == "differential")
            yield self._trial(scene, *self._instruction(scene))

    def report(self, trials: list[Trial]) -> Report:
        """Sum up what :meth:`run` yielded."""
        latencies = np.array(self._latencies_s or [0.0])
        p50, p99 = (round(float(value), 5) for value in np.percentile(latencies, (50, 99)))
        return Report(trials, len(self._latencies_s), p50, p99)

    def _instruction(self, scene: Scene) -> tuple[str, Task]:
        if not self._config.swap_instruction:
            return scene.language, scene.task
        # A room that is neither the scene's goal nor where the robot stands already.
        others = [
            name for name in self._config.tasks if name != scene.task.name and TASKS[name].room.name != scene.start_room
        ]
        if not others:
            raise ValueError("--swap-instruction needs --tasks with at least three rooms")
        random = np.random.default_rng([scene.seed, 1])
        task = TASKS[str(random.choice(others))]
        return str(random.choice(task.instructions)), task

    def _trial(self, scene: Scene, instruction: str, asked: Task) -> Trial:
        contract, replan = self._world.contract, self._config.replan
        robot = HeadlessRobot(self._world, scene, np.random.default_rng([scene.seed, 0]), epoch_ns=1)
        asked_test, success, scene_success = SuccessTest(asked), False, False
        memory, closed, pending = self._policy.initial_memory(), False, 0
        path: list[tuple[float, float]] = []
        while robot.time_s < self._config.time_limit_s and not success:
            snapshot = robot.observe()
            path.append((round(snapshot.pose.x, 3), round(snapshot.pose.y, 3)))
            if pending == 0:
                began = time.perf_counter()
                chunk, memory = self._policy.predict(
                    snapshot.images, snapshot.state, instruction, memory, elapsed_periods=replan
                )
                self._latencies_s.append(time.perf_counter() - began)
                pending = replan
            action = replan - pending
            pending -= 1
            velocity = self._codec.to_velocity(*(float(delta) for delta in chunk.deltas[action]))
            if not velocity.finite:
                raise ValueError(f"the policy's action is not finite at step {len(path)} of scene {scene.seed}")
            closed = contract.gripper.decide(float(chunk.gripper[action]), closed)
            velocity = limited(velocity, contract)
            robot.advance(velocity, float(closed))
            pose = self._world.pose
            success = asked_test.update(robot.time_s, pose.x, pose.y, math.hypot(velocity.x, velocity.y))
            scene_success = scene_success or robot.success
        pose = self._world.pose
        distance_m = math.hypot(pose.x - asked.room.goal[0], pose.y - asked.room.goal[1])
        return Trial(
            scene.seed,
            scene.task.name,
            instruction,
            asked.name,
            success,
            scene_success,
            round(robot.time_s, 2),
            round(distance_m, 3),
            path,
        )
