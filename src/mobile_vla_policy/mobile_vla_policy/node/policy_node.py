"""The policy as a lifecycle node: observations in, velocity and gripper commands for the gate out.

configure loads the checkpoint, activate arms, deactivate sends zeros last, cleanup frees the memory.
One thread publishes, another one infers (see :mod:`mobile_vla_policy.runtime.driver`); the executor never waits.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from mobile_vla_msgs.msg import ActionChunk, PolicyStatus
from mobile_vla_policy.node.commands import Commands
from mobile_vla_policy.node.drive import Drive
from mobile_vla_policy.node.execute import ExecuteServer
from mobile_vla_policy.node.gate_watch import GateWatch
from mobile_vla_policy.node.instruction import InstructionService
from mobile_vla_policy.node.loading import Loading, keep_in_memory, release_memory, require_same_robot
from mobile_vla_policy.node.map_views import MapViews
from mobile_vla_policy.node.parameters import FixedParameters, SettableParameters
from mobile_vla_policy.node.session import Session
from mobile_vla_policy.node.status import health, state_of, status_message
from mobile_vla_policy.runtime.arrival import Arrival
from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_policy.runtime.loader import LoadPolicy, load_checkpoint
from mobile_vla_policy.runtime.settings import require_fit, why_not_now
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.diagnostics import Diagnostics
from mobile_vla_ros.lifecycle import AutostartNode, loud
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import run

_STATUS_PERIOD_S = 0.5


class PolicyNode(AutostartNode):
    """The node; see the module. ``load`` loads a policy from a checkpoint folder."""

    def __init__(self, load: LoadPolicy = load_checkpoint) -> None:
        super().__init__("policy_node")
        self._fixed = FixedParameters.of(self)
        self._settings = SettableParameters(self, self._refuse_changes, self._apply_changes)
        self._loading = Loading(load, self._fixed.contract)
        self._session: Session | None = None

        fixed, gate = self._fixed, GateWatch(self, self._on_handed_back)
        self._chunk_arrived = self.create_guard_condition(self._on_chunk)
        self._commands = Commands(self, fixed.contract, fixed.rate_hz, fixed.stamped, gate)
        self._chunk_publisher = self.create_publisher(ActionChunk, "policy/action_chunk", 10)
        self._status_publisher = self.create_publisher(PolicyStatus, "policy/status", LATCHED)
        self._execute = ExecuteServer(
            self,
            self._driver,
            fixed.observation_timeout_s,
            Arrival(fixed.done_after_s, fixed.contract.period_s),
            # An operator's command, or a latched stop, is not the policy's decision.
            in_command=lambda: not (gate.operator_drives or gate.nobody_drives),
        )
        self._instruction = InstructionService(self, self._driver, lambda: self._execute.busy, self._publish_status)
        self._map_views = MapViews(self, self._driver)
        self._diagnostics = Diagnostics(self, lambda: health(self._status()), adapt=self._commands.adapt)
        self._status_timer = self.create_timer(_STATUS_PERIOD_S, self._publish_status, clock=STEADY)

    # Lifecycle -------------------------------------------------------------------------------------------------------

    def _autostart(self) -> None:
        """Load in the background, so that the node answers meanwhile; then configure and activate."""
        assert self._autostart_timer is not None
        if self._loading.done:
            super()._autostart()
        elif not self._loading.running:
            self._autostart_timer.cancel()
            if self._begin_loading():
                self._autostart_timer = self.create_timer(0.1, self._autostart, clock=STEADY)

    def _begin_loading(self) -> bool:
        """Start to load; return False, and ask to exit, if there is nothing to load."""
        try:
            self._loading.begin(self._settings)
        except ValueError as error:
            self.get_logger().error(f"cannot configure: {error}")
            self.last_error, self.exit_code = str(error), 1
            return False
        self._publish_status()
        return True

    def _end_autostart(self) -> None:
        """A transition was requested, by this node or by a lifecycle manager: nothing begins by itself any more."""
        if self._autostart_timer is not None:
            self._autostart_timer.cancel()

    @loud
    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Load the checkpoint. Publishes status and diagnostics itself meanwhile: the executor waits for this call."""
        self._end_autostart()
        self._loading.begin(self._settings)
        loaded = self._loading.wait(self.stopping, self._publish_progress)
        require_same_robot(self._fixed.contract, loaded, self.get_logger())
        require_fit(loaded.policy, self._settings.values)
        inputs = ObservationInputs(
            self, self._fixed.contract, on_image=self._on_image, compressed=self._fixed.compressed
        )
        self._session = Session(loaded.policy, inputs)
        keep_in_memory()
        self.get_logger().info(f"loaded {loaded.checkpoint} in {loaded.took_s:.1f} s")
        self.last_error = ""
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Arm: from now on an instruction moves the robot."""
        assert self._session is not None
        self._session.prepare()
        drive = self._session.drive = self._new_drive(self._session)
        try:
            self._take_role()
            drive.begin(self._settings["instruction"], self._fixed.rate_hz)
            self._publish_status()
        except Exception:
            # A node that is not active commands nothing, whether the transition fails or is an error.
            self._disarm()
            raise
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot; this is the last command of this node."""
        self._disarm()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free the policy's memory."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        self._end_autostart()
        self._disarm()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, free, and be unconfigured again: a transition failed half-way."""
        self._disarm()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Deactivate, and let the goal's result and the last zeros leave before the context is shut down."""
        had_goal = self._execute.busy
        self._disarm()
        if had_goal and self.executor is not None:
            deadline = time.monotonic() + 0.2
            while time.monotonic() < deadline:
                self.executor.spin_once(timeout_sec=0.02)

    def _disarm(self) -> None:
        if self._session is not None and self._session.end_drive():
            self._publish_status()

    def _free(self) -> None:
        was_loaded = self._session is not None
        if self._session is not None:
            self._session.close()
        self._session = None
        self._loading.abandon()
        release_memory(gpu=was_loaded)

    # Driving ---------------------------------------------------------------------------------------------------------

    def _new_drive(self, session: Session) -> Drive:
        # No method of self: a forward pass that never returns must not keep the node, and so its place in the graph.
        clock = self.get_clock()

        def clock_ns() -> int:
            return int(clock.now().nanoseconds)

        simulated = self.get_parameter("use_sim_time").value
        driver = PolicyDriver(
            session.policy,
            session.inputs.builder,
            self._settings.scheduler,
            clock_ns,
            mono_ns=clock_ns if simulated else time.monotonic_ns,
            inference_timeout_s=self._fixed.inference_timeout_s,
            notify=self._chunk_arrived.trigger,
        )
        return Drive(
            self,
            self._fixed.contract,
            driver,
            self._commands,
            self._execute,
            self._chunk_publisher.publish,
            self._publish_status,
            self._fixed.trace_file,
        )

    @property
    def _drive(self) -> Drive | None:
        """The drive while the node is active."""
        return None if self._session is None else self._session.drive

    def _driver(self) -> PolicyDriver | None:
        """Return the driver while the node is active."""
        return None if self._drive is None else self._drive.driver

    @property
    def _shadow(self) -> bool:
        return bool(self._settings["shadow"])

    def _take_role(self) -> None:
        """Command or, in shadow mode, watch."""
        if self._shadow:
            self._commands.look_on()
        else:
            self._commands.arm()

    def _on_handed_back(self) -> None:
        # The policy's memory is of the operator's driving, and its decision about the gripper is from before that.
        if self._drive is not None and self._commands.armed:
            self._drive.driver.begin_anew()

    def _on_image(self, camera: str) -> None:
        # The first camera of the contract sets the pace; the others are used as they are at that moment.
        if self._drive is not None and camera == self._fixed.contract.first_camera:
            self._drive.driver.wake()

    def _on_chunk(self) -> None:
        if self._drive is not None:
            self._drive.chunk_arrived()

    # Parameters ------------------------------------------------------------------------------------------------------

    def _refuse_changes(self, changes: Mapping[str, Any]) -> str:
        policy = None if self._session is None else self._session.policy
        return why_not_now(changes, policy, loading=self._loading.running, busy=self._execute.busy)

    def _apply_changes(self, changes: Mapping[str, Any]) -> None:
        if self._drive is None:
            return
        drove = self._commands.armed
        self._take_role()
        driver = self._drive.driver
        driver.scheduler.options = self._settings.scheduler
        if "instruction" in changes:
            driver.follow(changes["instruction"])
        elif self._commands.armed and not drove:
            # Someone else drove while it watched.
            driver.begin_anew()

    # Status ----------------------------------------------------------------------------------------------------------

    def _status(self) -> PolicyStatus:
        session, drive = self._session, self._drive
        state, message = state_of(
            None if drive is None else drive.last,
            self._loading.progress,
            loaded=session is not None,
            error=self.last_error,
        )
        return status_message(
            state,
            message,
            int(self.get_clock().now().nanoseconds),
            checkpoint=self._settings["checkpoint"],
            shadow=self._shadow,
            commands=self._commands,
            driver=self._driver(),
            inputs=None if session is None else session.inputs,
        )

    def _publish_status(self) -> None:
        if self._drive is not None:
            self._drive.rivals = self._commands.rivals()
        self._map_views.adapt()
        self._status_publisher.publish(self._status())

    def _publish_progress(self) -> None:
        self._publish_status()
        self._diagnostics.publish()


def main(load: LoadPolicy = load_checkpoint) -> None:
    """Run the node until it is stopped."""
    status = run(lambda: PolicyNode(load))
    # The node leaves the graph with the last reference to one of its entities. Otherwise other nodes would see it until
    # its DDS lease ends.
    release_memory()
    sys.stdout.flush()
    sys.stderr.flush()
    # The interpreter would now take torch apart, which lasts seconds on a busy machine and may crash while a thread is
    # still loading or inside a forward pass.
    os._exit(status)


if __name__ == "__main__":
    main()
