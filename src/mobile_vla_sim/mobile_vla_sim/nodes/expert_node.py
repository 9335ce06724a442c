"""The scripted expert as a node: demonstrates through the same topics and services as a human with a gamepad."""

from __future__ import annotations

import sys
import time

from rclpy.node import Node

from mobile_vla_data.action import Velocity
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_msgs.srv import DiscardEpisode, GetProgress, ResetSim, StartEpisode, StopEpisode
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.diagnostics import Diagnostics, Health
from mobile_vla_ros.parameters import integer, load_contract, number, stamping, text
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import StartError, run
from mobile_vla_sim.expert.expert import Expert
from mobile_vla_sim.nodes.assign import assign, load_plan_parameter, task_names
from mobile_vla_sim.nodes.conductor import Conductor
from mobile_vla_sim.nodes.scene_reset import SceneReset
from mobile_vla_sim.nodes.stop_watcher import StopWatcher
from mobile_vla_sim.nodes.truth import truth_of
from mobile_vla_sim.tasks.catalogue import TASKS
from mobile_vla_sim.tasks.draw import Assignment
from mobile_vla_sim.tasks.schedule import Schedule
from mobile_vla_sim.world.scene import Stream, scene_seed

_RATE_HZ = 20.0
_LEAST_S, _MOST_S = 5.2, 9.8
"""An episode lasts 50 to 100 steps at 10 Hz, like the headless ones."""
_HOLD_S = 1.0
_RETRY_S = 0.2
#: An episode with a larger share of dropped ticks is thrown away and driven again; the recorder's own check is at 0.05.
_MOST_DROPPED = 0.04
_FAILURES_ALLOWED = 5
#: Reasons that pass by themselves: the recorder is still starting, or its inputs have not all arrived.
_PASSING = (StartEpisode.Response.NOT_ACTIVE, StartEpisode.Response.INPUT_MISSING)


class ExpertNode(Node):
    """Resets the scene, starts an episode, drives, stops the episode; ``episodes`` times, then ends with status 0."""

    def __init__(self) -> None:
        super().__init__("expert_node")
        self._contract = load_contract(self)
        stamped = stamping(self)
        self._episodes = integer(self, "episodes", 0, "number of episodes to record; 0: until stopped", at_least=0)
        self._seed = integer(self, "seed", 0, "seed of the series of scenes", at_least=0, at_most=(1 << 28) - 1)
        names = text(self, "tasks", "", f"comma-separated, out of {', '.join(TASKS)}; empty: all")
        self._plan = load_plan_parameter(self)
        self._schedule = Schedule(task_names(self, names), self._plan)
        self._wait_s = number(self, "wait_s", 30.0, "longest wait for simulator and recorder [s]", above=0)
        self._commands = CommandPublisher(self, "teleop", self._contract.action.frame, stamped=stamped)
        self._scene = SceneReset(self)
        self._recorder: RecorderStatus | None = None
        self.create_subscription(RecorderStatus, "recorder/status", self._on_recorder, LATCHED)
        self._gate = StopWatcher(self)
        self._start = self.create_client(StartEpisode, "recorder/start_episode")
        self._stop = self.create_client(StopEpisode, "recorder/stop_episode")
        self._discard = self.create_client(DiscardEpisode, "recorder/discard_episode")
        self._progress = self.create_client(GetProgress, "recorder/get_progress")
        self.exit_code: int | None = None
        self._recorded = self._failed = 0
        self._recording = False
        self._diagnostics = Diagnostics(self, self._health)
        self._conductor = Conductor(self, self._script)
        self._conductor.start()

    def close(self) -> None:
        """Stop driving: the last command is zero."""
        self._conductor.close()
        self._commands.close()
        if self._recording and self._discard.service_is_ready():
            # Half a demonstration teaches stopping half-way.
            self._discard.call_async(DiscardEpisode.Request(reason="the expert was stopped"))

    def _on_recorder(self, message: RecorderStatus) -> None:
        self._recorder = message

    def _script(self) -> None:
        self._require_services()
        # Series continue where the dataset ends, so that a second run does not demonstrate the same scenes again.
        index = int(self._conductor.call(self._progress, GetProgress.Request(), self._wait_s).episodes)
        while self._episodes == 0 or self._recorded < self._episodes:
            self._episode(index)
            index += 1
        self.get_logger().info(f"done: {self._recorded} episodes recorded, {self._failed} failed")

    def _require_services(self) -> None:
        for client, node in ((self._scene.client, "sim_node"), (self._start, "recorder_node")):
            self._conductor.wait_until(
                client.service_is_ready,
                self._wait_s,
                f"service {client.srv_name} is not there after {self._wait_s:g} s; start {node}",
            )

    def _episode(self, index: int) -> None:
        self._gate.wait_until_released(self._conductor, self._wait_s)
        slot = self._schedule.slot(index)
        seed = scene_seed(Stream.LIVE_COLLECTION, self._seed, slot.group)
        request = ResetSim.Request(seed=seed, tasks=list(slot.tasks), place=slot.place)
        scene = self._scene.reset(self._conductor, request, self._wait_s)
        assignment = assign(self._plan, self._contract, seed, slot.tasks, slot.place)
        episode_id = self._start_episode(scene)
        self._recording = True
        done = self._demonstrate(assignment)
        self._commands.send(Velocity())
        problem = self._problem(done)
        if problem:
            self._conductor.call(self._discard, DiscardEpisode.Request(reason=problem), self._wait_s)
        else:
            result = self._conductor.call(self._stop, StopEpisode.Request(outcome="success"), self._wait_s)
            problem = "" if result.success else result.message
        self._recording = False
        if not problem:
            self._recorded += 1
            self.get_logger().info(f"{episode_id}: '{scene.language}', {result.steps} steps")
            return
        self._failed += 1
        self.get_logger().warning(f"{episode_id} is driven again: {problem}")
        if self._failed > _FAILURES_ALLOWED + self._recorded:
            raise StartError(f"{self._failed} of {self._failed + self._recorded} episodes failed, last one: {problem}")

    def _problem(self, done: bool) -> str:
        """Return why the demonstration that just ended must be repeated; empty when it is good."""
        if not done:
            return "the goal was not achieved in time"
        status = self._recorder
        if status is None:
            return ""
        ticks = status.steps + status.dropped_ticks
        if status.dropped_ticks > _MOST_DROPPED * ticks:
            return f"{status.dropped_ticks} of {ticks} control ticks were dropped; free the processor"
        return ""

    def _start_episode(self, scene: ResetSim.Response) -> str:
        request = StartEpisode.Request(
            language=scene.language,
            task=scene.task,
            category=scene.category,
            source="expert",
            environment=scene.environment,
        )
        deadline = time.monotonic() + self._wait_s
        while True:
            response = self._conductor.call(self._start, request, self._wait_s)
            if response.success:
                return str(response.episode_id)
            if response.error_code not in _PASSING or time.monotonic() > deadline:
                raise StartError(f"recorder/start_episode refused: {response.message}")
            self._conductor.sleep(_RETRY_S)

    def _demonstrate(self, assignment: Assignment) -> bool:
        """Drive until the goal has stayed achieved and the episode is long enough; return False when time ran out."""
        expert = Expert(assignment, self._contract)
        began = tick = time.monotonic()
        done_since: float | None = None
        while (now := time.monotonic()) - began < _MOST_S:
            state = self._scene.state
            assert state is not None
            command = expert.command(truth_of(state), 1.0 / _RATE_HZ)
            self._commands.send(command.velocity)
            self._commands.send_gripper(command.gripper)
            done_since = (done_since or now) if state.success else None
            done_s = now - done_since if done_since else 0.0
            if done_s >= _HOLD_S and now - began >= _LEAST_S:
                return True
            tick += 1.0 / _RATE_HZ
            self._conductor.sleep(tick - time.monotonic())
        return bool(self._scene.state and self._scene.state.success)

    def _health(self) -> Health:
        return Health(values={"recorded": self._recorded, "failed": self._failed, "wanted": self._episodes})


def main() -> None:
    """Run the node."""
    sys.exit(run(ExpertNode))
