"""The recorder as a lifecycle node: parameters, the dataset's lock, subscriptions; recorder.py does the work.

configure: dataset folder (locked against a second recorder), subscriptions. activate: sampling. deactivate: an open
episode is kept as ``unlabelled`` if it is long enough (see recorder.py). A signal deactivates.
"""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header

from mobile_vla_collect.recorder.recorder import Recorder
from mobile_vla_collect.recorder.recording import Phase, RecorderSettings
from mobile_vla_collect.recorder.services import RecorderServices
from mobile_vla_collect.recorder.status import fill_plan, fill_recorder, health_of
from mobile_vla_collect.recorder.task_plan import TaskPlan
from mobile_vla_collect.recorder.writer_thread import WriterSettings
from mobile_vla_data.dataset.folder import DatasetError
from mobile_vla_data.dataset.plan import PlanError
from mobile_vla_data.episode.metadata import SOURCES
from mobile_vla_data.repair.recover import recover_dataset
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S
from mobile_vla_data.storage.lock import DatasetBusyError, DatasetLock
from mobile_vla_msgs.msg import GateStatus, GripperCommand, PolicyStatus, RecorderStatus
from mobile_vla_ros.clock import STEADY, now_ns
from mobile_vla_ros.convert import to_stamp, velocity_of
from mobile_vla_ros.diagnostics import Diagnostics, Health
from mobile_vla_ros.lifecycle import AutostartNode, loud
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.parameters import compressed_images, integer, load_contract, number, path, stamping, text
from mobile_vla_ros.qos import EVERY_COMMAND, EVERY_STATUS, LATCHED
from mobile_vla_ros.run import StartError, run
from mobile_vla_ros.velocity_topics import VelocitySubscription

_STATUS_PERIOD_S = 0.5


class RecorderNode(AutostartNode):
    """Records episodes of the contract's streams and of the gate's output into one dataset folder."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._contract = load_contract(self)
        self._stamped = stamping(self)
        self._compressed = compressed_images(self)
        self._settings = _read_settings(self)
        plan = "collection plan for a new dataset folder; empty: the one it has, if any"
        self._plan_file = path(self, "plan", plan)
        who = "source of episodes whose request names none; policy: the instruction comes from policy/status"
        self._source = text(self, "default_source", "teleop", who, choices=SOURCES)
        self._followed = ""
        if self._source == "policy":
            self.create_subscription(PolicyStatus, "policy/status", self._on_policy, LATCHED)
        self._lock = DatasetLock(self._settings.writer.dataset)
        self._recorder: Recorder | None = None
        self._inputs: ObservationInputs | None = None
        self._plan: TaskPlan | None = None
        self._velocities: VelocitySubscription | None = None
        self._subscriptions_of_commands: list[Any] = []
        self._status_publisher = self.create_publisher(RecorderStatus, "recorder/status", LATCHED)
        self._tick_publisher = self.create_publisher(Header, "recorder/tick", EVERY_COMMAND)
        self._episode_services = RecorderServices(
            self,
            self._settings.writer.dataset,
            lambda: self._recorder,
            lambda: self._plan,
            self._publish_status,
        )
        self._status_timer = self.create_timer(_STATUS_PERIOD_S, self._publish_status, clock=STEADY)
        self._diagnostics = Diagnostics(self, self._health, adapt=self._adapt)

    @loud
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lock the dataset folder, recover what a crash left, count the episodes, subscribe."""
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
        self._inputs = ObservationInputs(self, self._contract, compressed=self._compressed)
        return super().on_configure(state)

    def _take_up(self, dataset: Path) -> None:
        """Recover what a crash left, and count what the folder holds against the plan."""
        for recovery in recover_dataset(dataset):
            said = f"{recovery.episode_id}: {recovery.result}, {recovery.steps} steps: {recovery.reason}"
            self.get_logger().warning(f"left by a crash, {said}")
        try:
            self._plan = TaskPlan(dataset, self._plan_file, self._source)
        except PlanError as error:
            raise StartError(str(error)) from None
        if self._followed:
            self._plan.follow(self._followed)
        for problem in self._plan.tally.problems:
            self.get_logger().warning(problem)

    @loud
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin sampling; episodes can be started from now on."""
        assert self._inputs is not None and self._plan is not None
        topic = self.resolve_topic_name("cmd_vel")
        simulated = self.get_parameter("use_sim_time").value
        clock = partial(now_ns, self)
        # In simulated time a tick is a tenth of a simulated second, however fast the simulation is.
        mono = clock if simulated else None
        self._recorder = Recorder(self._inputs.builder, self._settings, topic, clock, mono, self._publish_tick)
        self._velocities = VelocitySubscription(
            self, "cmd_vel", self._on_velocity, EVERY_COMMAND, stamped=self._stamped
        )
        self._subscriptions_of_commands = [
            self.create_subscription(GateStatus, "gate/status", self._on_gate, EVERY_STATUS),
        ]
        if self._contract.has_gripper:
            self._subscriptions_of_commands.append(
                self.create_subscription(GripperCommand, "gripper/command", self._on_gripper, EVERY_COMMAND)
            )
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
        if self._velocities is not None:
            self._velocities.destroy()
            self._velocities = None
        for subscription in self._subscriptions_of_commands:
            self.destroy_subscription(subscription)
        self._subscriptions_of_commands = []
        if recorder is None:
            return
        said = recorder.close()
        if said:
            self.get_logger().warning(said)
        self._count(recorder)
        self._publish_status()

    def _on_velocity(self, message: Any) -> None:
        if self._recorder is not None:
            self._recorder.commands.take_velocity(self._recorder.mono_ns(), now_ns(self), velocity_of(message))

    def _on_gripper(self, message: GripperCommand) -> None:
        if self._recorder is not None:
            self._recorder.commands.take_gripper(float(message.position))

    def _on_gate(self, message: GateStatus) -> None:
        if self._recorder is not None:
            self._recorder.commands.take_driver(human=message.driver == GateStatus.DRIVER_TELEOP)

    def _on_policy(self, message: PolicyStatus) -> None:
        if message.instruction == self._followed:
            return
        self._followed = message.instruction
        if self._plan is not None:
            self._plan.follow(self._followed)
        if self._recorder is not None and self._followed:
            self._recorder.note_instruction(self._followed)

    def _publish_tick(self, stamp_ns: int, missed: int) -> None:
        """Publish a control tick, for raw recordings: with it an import samples when the recorder did."""
        if self._tick_publisher.get_subscription_count():
            self._tick_publisher.publish(Header(stamp=to_stamp(stamp_ns), frame_id=str(missed) if missed else ""))

    def _publish_status(self) -> None:
        recorder = self._recorder
        if recorder is not None:
            self._count(recorder)
        status = RecorderStatus(
            state=RecorderStatus.STATE_INACTIVE,
            message=self.last_error,
            dataset=str(self._settings.writer.dataset),
            declared_rate_hz=self._contract.control_rate_hz,
        )
        status.header.stamp = self.get_clock().now().to_msg()
        fill_plan(status, self._plan)
        if recorder is not None and self._inputs is not None:
            fill_recorder(status, recorder, self._inputs.builder.streams, now_ns(self))
        self._status_publisher.publish(status)

    def _count(self, recorder: Recorder) -> None:
        """Count the episodes committed or edited since, so that the plan proposes the next task."""
        for saved in recorder.take_saved():
            if self._plan is not None:
                self._plan.add(saved)
        # Not while one is recorded: many edited files would keep images waiting.
        if self._plan is not None and recorder.phase is Phase.NONE:
            # A folder that is not there now, for example an unmounted disk, shows elsewhere.
            with contextlib.suppress(DatasetError, OSError):
                self._plan.recount()

    def _adapt(self) -> None:
        if self._velocities is not None:
            self._velocities.follow()

    def _health(self) -> Health:
        return health_of(self._recorder, self.last_error, self._settings.writer.dataset, now_ns(self))


def _read_settings(node: Any) -> RecorderSettings:
    """Declare and read the parameters of recording. Raises :class:`StartError`, one line."""
    folder = path(node, "dataset", "folder for the episodes, for example dataset:=$HOME/kitchen", required=True)
    assert folder is not None
    writer = WriterSettings(
        dataset=folder.absolute(),
        encoding=text(node, "image_encoding", "jpeg", "how images are stored", choices=("jpeg", "raw")),
        jpeg_quality=integer(node, "jpeg_quality", 95, "quality of stored JPEGs", at_least=1, at_most=100),
        queue_steps=integer(node, "queue_steps", 100, "steps that may wait for the disk", at_least=1, at_most=10_000),
    )
    return RecorderSettings(
        writer=writer,
        min_steps=integer(node, "min_steps", 10, "shorter episodes are not kept", at_least=1),
        max_dropped_share=number(
            node, "max_dropped_share", 0.05, "above it an episode fails its check", at_least=0, at_most=1
        ),
        command_max_age_s=number(
            node, "command_max_age_s", COMMAND_MAX_AGE_S, "a step with an older command is dropped [s]", above=0
        ),
        pre_trigger_s=number(
            node,
            "pre_trigger_s",
            0.0,
            "an episode begins this long before its start [s]",
            at_least=0,
            at_most=60,
        ),
        min_free_bytes=int(
            1e6 * number(node, "min_free_mb", 500.0, "recording stops below this much free space [MB]", at_least=0)
        ),
    )


def main() -> None:
    """Run the recorder until it is stopped."""
    sys.exit(run(RecorderNode))


if __name__ == "__main__":
    main()
