"""The policy as a lifecycle node: observations in, velocity and gripper commands for the gate out.

configure loads the checkpoint, activate arms, deactivate sends zeros last, cleanup frees the memory.
One thread publishes, another one infers (see :mod:`mobile_vla_policy.runtime.driver`); the executor never waits for it.
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
from mobile_vla_policy.node.gate import GateWatch
from mobile_vla_policy.node.instruction import InstructionService
from mobile_vla_policy.node.loading import begin_loading, keep_in_memory, loaded, release_memory, wait_for
from mobile_vla_policy.node.parameters import FixedParameters, SettableParameters
from mobile_vla_policy.node.refusal import require_fit, why_not_now
from mobile_vla_policy.node.status import health, state_of, status_message
from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_policy.runtime.loader import LoadPolicy, PolicyLoader, load_checkpoint
from mobile_vla_policy.runtime.protocol import DrivingPolicy
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.diagnostics import Diagnostics
from mobile_vla_ros.lifecycle import AutostartNode, loud
from mobile_vla_ros.observation_inputs import ObservationInputs
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import StartError, run

_STATUS_PERIOD_S = 0.5
#: How long activation waits for a forward pass from before: a policy is not made for two threads.
_ENDED_WAIT_S = 2.0


class PolicyNode(AutostartNode):
    """See the module. ``load`` turns a checkpoint folder into a policy."""

    def __init__(self, load: LoadPolicy = load_checkpoint) -> None:
        super().__init__("policy_node")
        self._load = load
        self._fixed = FixedParameters.of(self)
        self._settings = SettableParameters(self, self._refuse_changes, self._apply_changes)

        self._loader: PolicyLoader | None = None
        self._policy: DrivingPolicy | None = None
        self._inputs: ObservationInputs | None = None
        self._drive: Drive | None = None
        self._drive_before: Drive | None = None
        self._chunk_arrived = self.create_guard_condition(self._on_chunk)

        gate, fixed = GateWatch(self, self._on_handed_back), self._fixed
        self._commands = Commands(self, fixed.contract, fixed.rate_hz, fixed.stamped, gate)
        self._chunk_publisher = self.create_publisher(ActionChunk, "policy/action_chunk", 10)
        self._status_publisher = self.create_publisher(PolicyStatus, "policy/status", LATCHED)
        self._execute = ExecuteServer(self, self._driver, fixed.observation_timeout_s)
        self._instruction = InstructionService(self, self._driver, lambda: self._execute.busy, self._publish_status)
        self._diagnostics = Diagnostics(self, lambda: health(self._status()))
        self._status_timer = self.create_timer(_STATUS_PERIOD_S, self._publish_status, clock=STEADY)

    # Lifecycle -------------------------------------------------------------------------------------------------------

    def _autostart(self) -> None:
        """Load in the background, so that the node can be talked to meanwhile; then configure and activate."""
        if self._loader is None and not self._begin_loading():
            return
        assert self._loader is not None and self._autostart_timer is not None
        if self._loader.done:
            super()._autostart()
        elif self._autostart_timer.timer_period_ns == 0:
            self._autostart_timer.cancel()
            self._autostart_timer = self.create_timer(0.1, self._autostart, clock=STEADY)

    def _end_autostart(self) -> None:
        """Somebody has asked for a transition, we or a lifecycle manager: from here on nothing begins by itself."""
        if self._autostart_timer is not None:
            self._autostart_timer.cancel()

    def _begin_loading(self) -> bool:
        """Start the loader; returns False, and asks to exit, when there is nothing that could be loaded."""
        try:
            self._loader = begin_loading(self._load, self._settings, self._fixed.contract)
        except ValueError as error:
            self.get_logger().error(f"cannot configure: {error}")
            self.last_error, self.exit_code = str(error), 1
            return False
        self._publish_status()
        return True

    @loud
    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Load the checkpoint. Publishes status and diagnostics itself meanwhile: the executor waits for us."""
        self._end_autostart()
        contract = self._fixed.contract
        loader = self._loader = self._loader or begin_loading(self._load, self._settings, contract)
        try:
            wait_for(loader, self.stopping, self._tell)
            policy = loaded(loader, contract)
        finally:
            self._loader = None
        require_fit(policy, self._settings.values)
        self._policy = policy
        self._inputs = ObservationInputs(self, contract, on_image=self._on_image, compressed=self._fixed.compressed)
        keep_in_memory()
        self.get_logger().info(f"loaded {loader.checkpoint} in {loader.elapsed_s:.1f} s")
        self.last_error = ""
        return TransitionCallbackReturn.SUCCESS

    def _tell(self) -> None:
        self._publish_status()
        self._diagnostics.publish()

    @loud
    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Arm: from now on an instruction moves the robot."""
        assert self._policy is not None and self._inputs is not None
        if self._drive_before is not None and not self._drive_before.ended(_ENDED_WAIT_S):
            raise StartError("the last forward pass before deactivation has not returned; clean up and configure again")
        # Nothing captured before now is acted upon.
        self._inputs.builder.clear()
        self._inputs.builder.reset_counters()
        # No method of self: a forward pass that never returns must not keep the node, and so its place in the graph.
        clock = self.get_clock()
        driver = PolicyDriver(
            self._policy,
            self._inputs.builder,
            self._settings.scheduler,
            lambda: int(clock.now().nanoseconds),
            inference_timeout_s=self._fixed.inference_timeout_s,
            notify=self._chunk_arrived.trigger,
        )
        self._drive = Drive(
            self,
            self._fixed.contract,
            driver,
            self._commands,
            self._execute,
            self._chunk_publisher.publish,
            self._publish_status,
            self._fixed.trace_file,
        )
        try:
            self._take_role()
            self._drive.begin(self._settings["instruction"], self._fixed.rate_hz)
            self._publish_status()
        except Exception:
            # Whether the transition fails or is an error: who is not active commands nothing.
            self._disarm()
            raise
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Tell the robot to stop, as the last thing that this node says to it."""
        self._disarm()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free the policy's memory."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """From any state: stop, and free."""
        self._end_autostart()
        self._disarm()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @loud
    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed half-way: stop, free, and be unconfigured again."""
        self._disarm()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Deactivate, and let the goal's result and the last zeros leave before the context dies."""
        had_goal = self._execute.busy
        self._disarm()
        if had_goal and self.executor is not None:
            deadline = time.monotonic() + 0.2
            while time.monotonic() < deadline:
                self.executor.spin_once(timeout_sec=0.02)

    def _disarm(self) -> None:
        if self._drive is not None:
            self._drive.end()
            self._drive, self._drive_before = None, self._drive
            self._publish_status()

    def _free(self) -> None:
        was_loaded, self._policy = self._policy is not None, None
        self._loader = None
        self._drive_before = None
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        release_memory(gpu=was_loaded)

    # Driving ---------------------------------------------------------------------------------------------------------

    @property
    def _shadow(self) -> bool:
        return bool(self._settings["shadow"])

    def _driver(self) -> PolicyDriver | None:
        """The driver while the node is active."""
        return self._drive.driver if self._drive is not None else None

    def _take_role(self) -> None:
        """Command, or look on."""
        if self._shadow:
            self._commands.look_on()
        else:
            self._commands.arm()

    def _on_handed_back(self) -> None:
        # What the policy remembers is the human's driving, and what it has decided about the gripper is from before it.
        if self._drive is not None and self._commands.armed:
            self._drive.driver.begin_anew()

    def _on_image(self, camera: str) -> None:
        # The first camera of the contract sets the pace; the others are used as they are at that moment.
        if self._drive is not None and camera == next(iter(self._fixed.contract.cameras)):
            self._drive.driver.wake()

    def _on_chunk(self) -> None:
        if self._drive is not None:
            self._drive.chunk_arrived()

    # Parameters ------------------------------------------------------------------------------------------------------

    def _refuse_changes(self, changes: Mapping[str, Any]) -> str:
        return why_not_now(changes, self._policy, loading=self._loader is not None, busy=self._execute.busy)

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
            # Somebody else drove while it looked on.
            driver.begin_anew()

    # Status ----------------------------------------------------------------------------------------------------------

    def _status(self) -> PolicyStatus:
        tick = self._drive.last if self._drive is not None else None
        state, message = state_of(tick, self._loader, loaded=self._policy is not None, error=self.last_error)
        return status_message(
            state,
            message,
            int(self.get_clock().now().nanoseconds),
            checkpoint=self._settings["checkpoint"],
            shadow=self._shadow,
            commands=self._commands,
            driver=self._driver(),
            inputs=self._inputs,
        )

    def _publish_status(self) -> None:
        if self._drive is not None:
            self._drive.rivals = self._commands.rivals()
        self._status_publisher.publish(self._status())


def main(load: LoadPolicy = load_checkpoint) -> None:
    """Run the node until it is told to stop."""
    status = run(lambda: PolicyNode(load))
    # The node leaves the graph when the last reference to one of its entities goes. Without that, others would see it
    # until its DDS lease ends.
    release_memory()
    sys.stdout.flush()
    sys.stderr.flush()
    # What is left is to take torch apart, which lasts seconds on a busy machine and may crash while a thread is still
    # loading or inside a forward pass.
    os._exit(status)


if __name__ == "__main__":
    main()
