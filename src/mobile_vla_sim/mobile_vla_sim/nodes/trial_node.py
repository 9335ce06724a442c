"""Trials of the launched policy: reset the scene, give the instruction, watch, count; then write what was measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import Image as ImageMessage

from mobile_vla_data.image import Image, unpack
from mobile_vla_data.storage.durable import explained, require_writable
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_ros.diagnostics import Diagnostics, Health
from mobile_vla_ros.parameters import integer, load_contract, number, path, stamping, text
from mobile_vla_ros.qos import COMMAND, LATCHED, SENSOR
from mobile_vla_ros.run import StartError, run
from mobile_vla_ros.velocity_topics import VelocitySubscription
from mobile_vla_sim.nodes.assign import task_names
from mobile_vla_sim.nodes.conductor import Conductor
from mobile_vla_sim.nodes.scene_reset import SceneReset
from mobile_vla_sim.nodes.stop_watcher import StopWatcher
from mobile_vla_sim.nodes.trial_report import (
    CommandClock,
    LatencyLog,
    LiveTrial,
    trials_document,
    write_animation,
    write_json,
)
from mobile_vla_sim.tasks.catalogue import TASKS
from mobile_vla_sim.world.scene import Stream, scene_seed

_FRAME_PERIOD_S = 0.2
_ANIMATION_SUFFIXES = (".gif", ".webp")
_WATCH_PERIOD_S = 0.05
_PATH_PERIOD_S = 0.1
_ANSWER_S = 10.0
#: Codes of policy/execute with which a trial simply counts as missed; any other means the graph is broken.
_ORDINARY_ENDS = (
    ExecuteInstruction.Result.OK,
    ExecuteInstruction.Result.CANCELLED,
    ExecuteInstruction.Result.ARRIVED,
)


class TrialNode(Node):
    """Runs ``trials`` scenes that nobody demonstrated, writes ``output`` and ends: 0 when all trials could be run."""

    def __init__(self) -> None:
        super().__init__("trial_node")
        self._contract = load_contract(self)
        stamped = stamping(self)
        self._count = integer(self, "trials", 10, "number of scenes to drive", at_least=1)
        self._seed = integer(self, "seed", 0, "seed of the series of scenes", at_least=0, at_most=(1 << 28) - 1)
        names = text(self, "tasks", "", f"comma-separated, out of {', '.join(TASKS)}; empty: all")
        self._tasks = task_names(self, names)
        self._limit_s = number(self, "time_limit_s", 15.0, "longest duration of a trial [s]", above=1)
        self._wait_s = number(self, "wait_s", 60.0, "longest wait for simulator and policy [s]", above=0)
        self._output = path(self, "output", "JSON file for the result; empty: none")
        self._record = path(self, "record", "animation (.gif or .webp) of one trial; empty: none")
        if self._record and self._record.suffix.lower() not in _ANIMATION_SUFFIXES:
            raise StartError(f"trial_node: parameter 'record' is '{self._record}'; the name must end in .gif or .webp")
        if self._record and "static" not in self._contract.cameras:
            raise StartError("trial_node: 'record' shows the camera static, which the contract lacks")
        for file in (self._output, self._record):
            if file:
                with _writing():
                    require_writable(file.absolute().parent)
        self._trials: list[LiveTrial] = []
        self._commands, self._latency = CommandClock(), LatencyLog()
        self._watching = False
        self._policy: PolicyStatus | None = None
        self._frames: list[Image] = []
        self._kept: tuple[int, list[Image]] | None = None
        self._frame_at = 0.0
        self.create_subscription(PolicyStatus, "policy/status", self._on_policy, LATCHED)
        velocities = VelocitySubscription(self, "cmd_vel", self._on_command, COMMAND, stamped=stamped)
        if self._record:
            self.create_subscription(ImageMessage, self._contract.cameras["static"].topic, self._on_image, SENSOR)
        self._gate = StopWatcher(self)
        self._scene = SceneReset(self)
        self._execute = ActionClient(self, ExecuteInstruction, "policy/execute")
        self.exit_code: int | None = None
        self._diagnostics = Diagnostics(self, self._health, adapt=velocities.follow)
        self._conductor = Conductor(self, self._script)
        self._conductor.start()

    def close(self) -> None:
        """End the script; a goal that is still running is left to its own time limit."""
        self._conductor.close()
        self._execute.destroy()

    def _on_policy(self, message: PolicyStatus) -> None:
        self._policy = message
        if self._watching and message.state == PolicyStatus.STATE_RUNNING:
            for item in message.latency:
                self._latency.take(item.stage, float(item.p50_s), float(item.p99_s))

    def _on_command(self, _message: Any) -> None:
        if self._watching:
            self._commands.arrived(time.monotonic())

    def _on_image(self, message: ImageMessage) -> None:
        now = time.monotonic()
        if self._watching and self._kept is None and now - self._frame_at >= _FRAME_PERIOD_S - 0.01:
            self._frame_at = now
            image = unpack(message.data, message.encoding, message.height, message.width, message.step)
            self._frames.append(np.array(image))

    def _script(self) -> None:
        self._require_graph()
        for index in range(self._count):
            trial = self._trial(index)
            self._trials.append(trial)
            self._keep_animation(index, trial)
            mark = "reached" if trial.success else "missed"
            self.get_logger().info(
                f"trial {index + 1} of {self._count}: '{trial.instruction}' {mark} after {trial.duration_s:.1f} s, "
                f"{trial.final_distance_m:.2f} m from the goal"
            )
            if self._output:
                progress = self._output.with_name(self._output.name + ".progress")
                with _writing():
                    write_json(progress, [trial.success for trial in self._trials])
        self._write()

    def _require_graph(self) -> None:
        wait_s = self._wait_s
        for ready, what in (
            (self._scene.client.service_is_ready, f"service {self._scene.client.srv_name}; start sim_node"),
            (self._execute.server_is_ready, f"action {self.resolve_topic_name('policy/execute')}; start policy_node"),
            (lambda: self._scene.state, f"a message on {self.resolve_topic_name('sim/state')}; start sim_node"),
        ):
            self._conductor.wait_until(ready, wait_s, f"trial_node waited {wait_s:g} s for {what}")
        try:
            self._conductor.wait_until(self._policy_sees, wait_s, "")
        except StartError:
            raise StartError(
                f"trial_node waited {wait_s:g} s for an active policy_node with its inputs: {self._missing()}"
            ) from None

    def _missing(self) -> str:
        """Return what keeps the policy from being ready, in one line."""
        if self._policy is None:
            return "nothing on policy/status"
        never = [item.problem for item in self._policy.streams if item.required and item.age_s < 0.0]
        return "; ".join(never) or self._policy.message

    def _policy_sees(self) -> bool:
        """Return True once the policy is active and has had every input: without one a goal would fail."""
        policy = self._policy
        ready_states = (PolicyStatus.STATE_WAITING, PolicyStatus.STATE_RUNNING)
        return policy is not None and policy.state in ready_states and policy.observation_age_s >= 0.0

    def _trial(self, index: int) -> LiveTrial:
        self._gate.wait_until_released(self._conductor, self._wait_s)
        seed = scene_seed(Stream.EVALUATION, self._seed, index)
        task = self._tasks[index % len(self._tasks)]
        scene = self._scene.reset(self._conductor, ResetSim.Request(seed=seed, task=task), _ANSWER_S)
        goal = ExecuteInstruction.Goal(instruction=scene.language, time_limit_s=float(self._limit_s + 5.0))
        handle = self._answer(self._execute.send_goal_async(goal), "policy/execute did not accept the goal")
        if not handle.accepted:
            raise StartError(f"policy/execute rejected '{scene.language}'")
        self._frames, self._watching = [], True
        self._commands.begin()
        result = handle.get_result_async()
        path, success = self._watch(result, time.monotonic())
        self._watching = False
        if not result.done():
            self._answer(handle.cancel_goal_async(), "policy/execute did not answer the cancel request")
        outcome = self._answer(result, "policy/execute did not end after it was cancelled").result
        if outcome.error_code not in _ORDINARY_ENDS:
            raise StartError(f"policy/execute failed with code {outcome.error_code}: {outcome.message}")
        state = self._scene.state
        assert state is not None
        return LiveTrial(
            seed,
            scene.task,
            scene.language,
            success,
            round(float(state.elapsed_s), 2),
            round(float(state.distance_to_goal), 3),
            outcome.message,
            path,
        )

    def _watch(self, result: Any, began: float) -> tuple[list[tuple[float, float]], bool]:
        """Follow the robot until success, the end of the goal, or the time limit; returns path and success."""
        path: list[tuple[float, float]] = []
        noted = 0.0
        while (now := time.monotonic()) - began < self._limit_s and not result.done():
            state = self._scene.state
            assert state is not None
            if now - noted >= _PATH_PERIOD_S - 0.01:
                path.append((round(float(state.x), 3), round(float(state.y), 3)))
                noted = now
            if state.success:
                return path, True
            self._conductor.sleep(_WATCH_PERIOD_S)
        return path, False

    def _answer(self, future: Any, otherwise: str) -> Any:
        self._conductor.wait_until(future.done, _ANSWER_S, f"{otherwise} within {_ANSWER_S:g} s")
        return future.result()

    def _keep_animation(self, index: int, trial: LiveTrial) -> None:
        """Keep the first trial that succeeded; failing that, the last one."""
        if not self._record or self._kept is not None or not self._frames:
            return
        if trial.success or index == self._count - 1:
            self._kept = (index, self._frames)

    def _write(self) -> None:
        recorded = None
        if self._kept is not None:
            recorded, frames = self._kept
            with _writing():
                write_animation(self._record, frames, _FRAME_PERIOD_S)
        document = trials_document(
            self._trials,
            seed=self._seed,
            time_limit_s=self._limit_s,
            checkpoint=self._policy.checkpoint if self._policy else "",
            cmd_vel=self._commands.as_dict(),
            policy_latency_s=self._latency.as_dict(),
            recorded_trial=recorded,
        )
        if self._output:
            with _writing():
                write_json(self._output, document)
        self.get_logger().info(f"succeeded in {document['successes']} of {document['count']} trials")

    def _health(self) -> Health:
        successes = sum(trial.success for trial in self._trials)
        return Health(values={"trials": len(self._trials), "wanted": self._count, "successes": successes})


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a failure to write into a :class:`StartError`: one line, and exit status 1."""
    try:
        yield
    except OSError as error:
        raise StartError(f"trial_node: {explained(error)}") from None


def main() -> None:
    """Run the node."""
    sys.exit(run(TrialNode))
