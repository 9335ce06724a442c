"""The recorder as a lifecycle node: subscribes, answers services, reports; recorder.py does the work.

configure: contract, dataset folder (locked against a second recorder), subscriptions. activate: sampling.
deactivate: an open episode is kept as ``unlabelled`` if it is long enough (see recorder.py). A signal deactivates.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from mobile_vla_collect.recorder import Recorder, RecorderSettings, RefusedError, State
from mobile_vla_collect.task_plan import TaskPlan
from mobile_vla_collect.writer_thread import WriterSettings
from mobile_vla_data.dataset.lock import DatasetBusyError, DatasetLock
from mobile_vla_data.dataset.plan import PlanError
from mobile_vla_data.episode.metadata import MetadataError, parse_environment
from mobile_vla_data.episode.recover import recover_dataset
from mobile_vla_msgs.msg import GateStatus, GripperCommand, RecorderStatus, TaskProgress
from mobile_vla_msgs.srv import DiscardEpisode, GetProgress, StartEpisode, StopEpisode
from mobile_vla_ros.convert import stream_status, velocity_of, velocity_type
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from mobile_vla_ros.lifecycle import AutostartNode, loud
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.parameters import flag, integer, load_contract, number, text
from mobile_vla_ros.qos import EVERY_COMMAND, EVERY_STATUS, LATCHED
from mobile_vla_ros.run import StartError, run

_STATUS_PERIOD_S = 0.5


class RecorderNode(AutostartNode):
    """Records episodes of the contract's streams and of the gate's output into one dataset folder."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        if self.get_parameter("use_sim_time").value:
            raise StartError("recorder_node: use_sim_time is true; episodes are sampled in real time, set it to false")
        self._contract = load_contract(self)
        self._stamped = flag(self, "stamped", False, "TwistStamped instead of Twist on every velocity topic")
        self._settings = self._read_settings()
        plan = text(self, "plan", "", "collection plan that a new dataset folder gets; empty: the one it has, if any")
        self._plan_file = Path(plan).expanduser() if plan else None
        self._lock = DatasetLock(self._settings.writer.dataset)
        self._recorder: Recorder | None = None
        self._inputs: ObservationInputs | None = None
        self._plan: TaskPlan | None = None
        self._subscriptions_of_commands: list[Any] = []
        self._status_publisher = self.create_publisher(RecorderStatus, "recorder/status", LATCHED)
        # An answer waits for the disk; everything else must go on meanwhile.
        services = ReentrantCallbackGroup()
        for type_, name, answer in (
            (StartEpisode, "start_episode", self._on_start),
            (StopEpisode, "stop_episode", self._on_stop),
            (DiscardEpisode, "discard_episode", self._on_discard),
            (GetProgress, "get_progress", self._on_progress),
        ):
            self.create_service(type_, f"recorder/{name}", answer, callback_group=services)
        self._status_timer = self.create_timer(_STATUS_PERIOD_S, self._publish_status)
        self._diagnostics = Diagnostics(self, self._health)

    def _read_settings(self) -> RecorderSettings:
        folder = text(
            self, "dataset", "", "folder the episodes go to, for example dataset:=$HOME/kitchen", required=True
        )
        writer = WriterSettings(
            dataset=Path(folder).expanduser().absolute(),
            encoding=text(self, "image_encoding", "jpeg", "how images are stored", choices=("jpeg", "raw")),
            jpeg_quality=integer(self, "jpeg_quality", 95, "quality of stored JPEGs", at_least=1, at_most=100),
            queue_steps=integer(
                self, "queue_steps", 100, "steps that may wait for the disk", at_least=1, at_most=10_000
            ),
        )
        return RecorderSettings(
            writer=writer,
            min_steps=integer(self, "min_steps", 10, "shorter episodes are not kept", at_least=1),
            max_dropped_share=number(
                self, "max_dropped_share", 0.05, "above it an episode fails its check", at_least=0, at_most=1
            ),
            command_max_age_s=number(
                self, "command_max_age_s", 0.3, "a step with an older command is dropped [s]", above=0
            ),
            pre_trigger_s=number(
                self,
                "pre_trigger_s",
                0.0,
                "an episode begins with this much of what came before [s]",
                at_least=0,
                at_most=60,
            ),
            min_free_bytes=int(
                1e6 * number(self, "min_free_mb", 500.0, "recording stops below this much free space [MB]", at_least=0)
            ),
        )

    @loud
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lock the dataset folder, recover what a crash left, count what it holds, subscribe."""
        try:
            self._lock.acquire()
        except DatasetBusyError as error:
            raise StartError(str(error)) from None
        try:
            self._take_up(self._settings.writer.dataset)
        except BaseException:
            # A node that is not configured must not keep the folder from another recorder.
            self._lock.release()
            raise
        self._inputs = ObservationInputs(self, self._contract)
        return super().on_configure(state)

    def _take_up(self, dataset: Path) -> None:
        """Recover what a crash left, and count what the folder holds against the plan."""
        for recovery in recover_dataset(dataset):
            said = f"{recovery.episode_id}: {recovery.result}, {recovery.steps} steps: {recovery.reason}"
            self.get_logger().warning(f"left by a crash, {said}")
        try:
            self._plan = TaskPlan(dataset, self._plan_file)
        except PlanError as error:
            raise StartError(str(error)) from None
        for problem in self._plan.tally.problems:
            self.get_logger().warning(problem)

    @loud
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin sampling; episodes can be started from now on."""
        assert self._inputs is not None and self._plan is not None
        topic = self.resolve_topic_name("cmd_vel")
        self._recorder = Recorder(self._inputs.builder, self._settings, topic, self._now_ns)
        self._subscriptions_of_commands = [
            self.create_subscription(velocity_type(self._stamped), "cmd_vel", self._on_velocity, EVERY_COMMAND),
            self.create_subscription(GripperCommand, "gripper/command", self._on_gripper, EVERY_COMMAND),
            self.create_subscription(GateStatus, "gate/status", self._on_gate, EVERY_STATUS),
        ]
        dataset = self._settings.writer.dataset
        self.get_logger().info(f"ready: {self._plan.tally.episodes} episodes in {dataset}")
        result = super().on_activate(state)
        self._publish_status()
        return result

    @loud
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Keep the open episode as unlabelled if it is long enough, and end sampling."""
        self._stop_recording()
        return super().on_deactivate(state)

    @loud
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and release the dataset folder."""
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self._plan = None
        self._lock.release()
        return super().on_cleanup(state)

    @loud
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivate and cleanup."""
        self._stop_recording()
        self._lock.release()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Deactivate and release the folder."""
        super().close()
        self._lock.release()

    def _stop_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        for subscription in self._subscriptions_of_commands:
            self.destroy_subscription(subscription)
        self._subscriptions_of_commands = []
        if recorder is None:
            return
        said = recorder.close()
        if said:
            self.get_logger().warning(said)
        if recorder.last is not None and self._plan is not None:
            self._plan.add(recorder.last.path)
        self._publish_status()

    def _on_velocity(self, message: Any) -> None:
        if self._recorder is not None:
            self._recorder.sampler.take_velocity(time.monotonic_ns(), self._now_ns(), velocity_of(message))

    def _on_gripper(self, message: GripperCommand) -> None:
        if self._recorder is not None:
            self._recorder.sampler.take_gripper(float(message.position))

    def _on_gate(self, message: GateStatus) -> None:
        if self._recorder is not None:
            self._recorder.sampler.take_driver(message.driver == GateStatus.DRIVER_TELEOP)

    async def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        try:
            recorder = self._require_active()
            assert self._plan is not None
            metadata = self._plan.fill(
                request.language,
                request.task,
                request.category,
                request.source,
                parse_environment(request.environment),
            )
            response.episode_id = await self._result(recorder.start(metadata))
            response.success, response.message = True, f"recording {response.episode_id}: {metadata.language}"
        except MetadataError as error:
            response.error_code, response.message = StartEpisode.Response.INVALID_REQUEST, str(error)
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        return response

    async def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        try:
            recorder = self._require_active()
            response.episode_id = self._open_id(recorder)
            response.dropped_ticks = recorder.sampler.dropped_ticks
            closed = await self._result(recorder.stop(request.outcome))
            response.path, response.steps = str(closed.path), closed.steps
            response.dropped_ticks, response.real_rate_hz = closed.dropped_ticks, closed.real_rate_hz
            response.success, response.message = True, f"saved {closed.steps} steps"
            if self._plan is not None:
                self._plan.add(closed.path)
            if closed.findings:
                raise RefusedError("CHECK_FAILED", f"saved, but: {'; '.join(closed.findings)}")
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        self._publish_status()
        return response

    async def _on_discard(
        self, request: DiscardEpisode.Request, response: DiscardEpisode.Response
    ) -> DiscardEpisode.Response:
        try:
            recorder = self._require_active()
            response.episode_id = await self._result(recorder.discard())
            reason = f": {request.reason}" if request.reason else ""
            response.success, response.message = True, f"discarded {response.episode_id}{reason}"
        except RefusedError as refusal:
            self._refuse(response, refusal)
        self._log(response)
        self._publish_status()
        return response

    def _on_progress(self, _request: GetProgress.Request, response: GetProgress.Response) -> GetProgress.Response:
        response.dataset = str(self._settings.writer.dataset)
        if self._plan is None:
            response.error_code = GetProgress.Response.NOT_CONFIGURED
            response.message = "recorder_node is not configured; configure it (ros2 lifecycle set) or use autostart"
            return response
        response.success = True
        response.episodes, response.steps = self._plan.tally.episodes, self._plan.tally.steps
        response.tasks = [
            TaskProgress(category=item.category, task=item.task, wanted=item.wanted, done=item.done, failed=item.failed)
            for item in self._plan.tasks
        ]
        if self._plan.next is not None:
            response.next_task, response.next_language = self._plan.next.task, self._plan.next.language
        return response

    def _require_active(self) -> Recorder:
        if self._recorder is None:
            raise RefusedError(
                "NOT_ACTIVE", "recorder_node is not active; activate it (ros2 lifecycle set) or use autostart"
            )
        return self._recorder

    @staticmethod
    def _open_id(recorder: Recorder) -> str:
        episode = recorder.current
        return episode.episode_id if episode is not None else ""

    @staticmethod
    def _refuse(response: Any, refusal: RefusedError) -> None:
        response.success, response.message = False, str(refusal)
        response.error_code = getattr(type(response), refusal.code)

    def _log(self, response: Any) -> None:
        if response.success:
            self.get_logger().info(f"{response.episode_id}: {response.message}")
        else:
            self.get_logger().warning(response.message)

    def _result(self, work: ThreadFuture[Any]) -> Future:
        """An awaitable of this node's executor for what another thread finishes."""
        awaitable = Future(executor=self.executor)

        def done(future: ThreadFuture[Any]) -> None:
            error = future.exception()
            if error is not None:
                awaitable.set_exception(error)
            else:
                awaitable.set_result(future.result())

        work.add_done_callback(done)
        return awaitable

    def _publish_status(self) -> None:
        now_ns = self._now_ns()
        status = RecorderStatus(
            dataset=str(self._settings.writer.dataset), declared_rate_hz=self._contract.control_rate_hz
        )
        status.header.stamp = self.get_clock().now().to_msg()
        if self._plan is not None:
            status.episodes_saved = self._plan.tally.episodes
            if self._plan.next is not None:
                status.next_task, status.next_language = self._plan.next.task, self._plan.next.language
        recorder = self._recorder
        if recorder is None:
            status.state, status.message = int(State.INACTIVE), self.last_error
            self._status_publisher.publish(status)
            return
        assert self._inputs is not None
        status.state, status.message = int(recorder.state), recorder.message
        status.disk_free_bytes = recorder.writer.free_bytes
        status.streams = [stream_status(stream, now_ns) for stream in self._inputs.builder.streams]
        status.streams.append(stream_status(recorder.sampler.command, now_ns))
        episode = recorder.current
        if episode is not None:
            status.episode_id, status.language = episode.episode_id, episode.metadata.language
            status.task, status.category = episode.metadata.task, episode.metadata.category
            status.steps, status.dropped_ticks = episode.steps, recorder.sampler.dropped_ticks
            status.duration_s, status.real_rate_hz = time.monotonic() - episode.started_s, episode.real_rate_hz
            if not status.message and recorder.sampler.dropped_ticks:
                status.message = f"dropped ticks: {recorder.sampler.last_drop}"
        elif recorder.last is not None:
            status.episode_id = recorder.last.episode_id
        if not status.message and status.state == State.IDLE:
            status.message = "; ".join(recorder.sampler.problems(time.monotonic_ns(), now_ns))
        self._status_publisher.publish(status)

    def _health(self) -> Health:
        recorder = self._recorder
        if recorder is None:
            return Health(WARN if self.last_error else OK, self.last_error or "not active")
        lateness = sorted(recorder.ticker.lateness_s)
        values = {
            "state": recorder.state.name.lower(),
            "dataset": self._settings.writer.dataset,
            "free space [MB]": round(recorder.writer.free_bytes / 1e6),
            "tick lateness p99 [ms]": round(1e3 * lateness[int(0.99 * (len(lateness) - 1))], 3) if lateness else "",
            "dropped ticks": recorder.sampler.dropped_ticks,
            "last dropped tick": recorder.sampler.last_drop,
        }
        if recorder.state is State.ERROR:
            return Health(ERROR, recorder.message, values)
        problems = recorder.sampler.problems(time.monotonic_ns(), self._now_ns())
        if problems or recorder.message:
            return Health(WARN, "; ".join(problems) or recorder.message, values)
        return Health(OK, "recording" if recorder.state is State.RECORDING else "ready", values)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> None:
    """Run the recorder until it is told to stop."""
    sys.exit(run(RecorderNode))


if __name__ == "__main__":
    main()
