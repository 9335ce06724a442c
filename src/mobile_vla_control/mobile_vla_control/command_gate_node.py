"""The gate as a node: commands of teleop and policy in, one command out, at a fixed rate, including zeros."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import LaserScan, Range
from std_srvs.srv import Trigger

from mobile_vla_control.gate import ZERO, CommandGate, Driver, GateOutput, GateSettings, Source
from mobile_vla_control.latch import StopLatch
from mobile_vla_data.transforms import yaw_of
from mobile_vla_msgs.msg import GateStatus, GripperCommand
from mobile_vla_ros.clock import STEADY, now_ns
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.convert import to_ns, velocity_of
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import load_contract, number, stamping
from mobile_vla_ros.pose_input import PoseInput
from mobile_vla_ros.qos import COMMAND, LATCHED, SENSOR
from mobile_vla_ros.realtime import ask_for_realtime
from mobile_vla_ros.run import run, without_shared_memory
from mobile_vla_ros.velocity_topics import VelocitySubscription

_STATUS_PERIOD_S = 0.5
#: Longest timeout [s]: 300 instead of 0.3, in milliseconds, would let the robot drive on for minutes.
_LONGEST_S = 5.0
#: Time for the robot's driver to start, or to start again, before its absence is a fault [s].
_HEARD_WITHIN_S = 5.0
#: The gripper command is repeated, so that a gripper driver that starts late gets it [s].
_GRIPPER_REPEAT_S = 1.0


class CommandGateNode(Node):
    """Subscribes ``cmd_vel_<source>`` and ``gripper/command_<source>``; publishes ``cmd_vel`` and ``gripper/command``.

    It publishes a velocity at ``rate_hz``, always, and a gripper position when that changes and once a second. If the
    contract has ``keep_in``, it subscribes to the pose, too, and with ``obstacles`` to their sensors.
    """

    def __init__(self, scheduling: str = "normal (not asked for)") -> None:
        """``scheduling`` is the result of :func:`mobile_vla_ros.realtime.ask_for_realtime`, to report it."""
        super().__init__("command_gate_node")
        self._scheduling = scheduling
        self._contract = load_contract(self)
        stamped = stamping(self)
        rate_hz = number(self, "rate_hz", 20.0, "rate of cmd_vel, to the robot [Hz]", at_least=1, at_most=200)
        seconds = partial(number, self, above=0, at_most=_LONGEST_S)
        self._gate = CommandGate(
            self._contract,
            GateSettings(
                seconds("teleop_timeout_s", 0.5, "silence after which teleop no longer drives [s]"),
                seconds("policy_timeout_s", 0.3, "silence after which the policy no longer drives [s]"),
                number(
                    self,
                    "release_s",
                    1.0,
                    "pause between teleop and the policy [s]",
                    at_least=0,
                ),
                seconds("max_stamp_age_s", 0.5, "largest difference of a command's stamp from now [s]"),
                1.0 / rate_hz,
            ),
        )
        self._output = GateOutput(ZERO, None, Driver.NONE, "no command yet")
        self._gripper_sent: float | None = None
        self._gripper_sent_at = -math.inf
        self._status_at = -math.inf
        self._fault = ""
        self._latch = StopLatch.of_robot(self.context.get_domain_id(), self.get_fully_qualified_name())
        self._unremembered = ""
        if since := self._latch.since():
            self._gate.stop(f"gate/stop was called at {since}, before this gate started; call gate/resume to continue")
            self.get_logger().warning(f"the robot stays stopped: {self._gate.stop_reason}")

        self._commands = CommandPublisher(self, "", self._contract.action.frame, stamped=stamped)
        self._sources: dict[Source, VelocitySubscription] = {}
        self._status_publisher = self.create_publisher(GateStatus, "gate/status", LATCHED)
        for source in Source:
            name = source.value
            self._sources[source] = VelocitySubscription(
                self, f"cmd_vel_{name}", partial(self._on_velocity, source), COMMAND, stamped=stamped
            )
            if self._contract.has_gripper:
                self.create_subscription(
                    GripperCommand, f"gripper/command_{name}", partial(self._on_gripper, source), COMMAND
                )
        if self._gate.keep_in.limited:
            PoseInput(self, self._contract, self._on_pose, self._on_no_pose)
        for index, sensor in enumerate(self._contract.obstacles.sensors if self._contract.obstacles else ()):
            kind, take = (LaserScan, self._on_scan) if sensor.type == "scan" else (Range, self._on_range)
            self.create_subscription(kind, sensor.topic, partial(take, index), SENSOR)
        self.create_service(Trigger, "gate/stop", self._on_stop)
        self.create_service(Trigger, "gate/resume", self._on_resume)
        # Steady: a simulated clock, or a clock that is set, must not hold the zeros back.
        self._timer = self.create_timer(1.0 / rate_hz, self._tick, clock=STEADY)
        self._heard_at = time.monotonic()
        self._diagnostics = Diagnostics(self, self._health, adapt=self._adapt)
        self.get_logger().info(f"scheduling: {scheduling}")

    def close(self) -> None:
        """Send zeros and wait until they have arrived. The gripper keeps its position; a new gate may drive at once."""
        self._timer.cancel()
        self._gate.stop("the gate is shutting down")
        now_s = time.monotonic()
        self._output = self._gate.tick(now_s)
        self._commands.stop()
        self._publish_status(now_s)

    def _on_velocity(self, source: Source, message: Any) -> None:
        age_s = self._age_s(message) if self._sources[source].stamped else 0.0
        self._report(source, self._gate.offer_velocity(source, velocity_of(message), time.monotonic(), age_s))

    def _on_gripper(self, source: Source, message: GripperCommand) -> None:
        # With plain Twist stamps are not required, and velocity and gripper of one command must be treated alike.
        age_s = self._age_s(message) if self._sources[source].stamped else 0.0
        self._report(source, self._gate.offer_gripper(source, float(message.position), time.monotonic(), age_s))

    def _on_pose(
        self, stamp_ns: int, x: float, y: float, rotation: tuple[float, float, float, float], frame: str
    ) -> None:
        received_s = time.monotonic()
        measured_s = received_s - (now_ns(self) - stamp_ns) * 1e-9
        self._gate.keep_in.put(x, y, yaw_of(rotation), frame, measured_s, received_s)

    def _on_no_pose(self, why: str) -> None:
        self._gate.keep_in.refuse(why, time.monotonic())
        self.get_logger().warning(f"the position is unknown: {why}", throttle_duration_sec=5.0)

    def _on_scan(self, sensor: int, scan: LaserScan) -> None:
        received_s = time.monotonic()
        ranges = np.frombuffer(scan.ranges, dtype=np.float32)
        angles, limits = (scan.angle_min, scan.angle_increment), (scan.range_min, scan.range_max)
        self._gate.obstacles.put_scan(sensor, ranges, angles, limits, received_s - self._age_s(scan), received_s)

    def _on_range(self, sensor: int, message: Range) -> None:
        received_s = time.monotonic()
        limits = (message.min_range, message.max_range)
        measured_s = received_s - self._age_s(message)
        self._gate.obstacles.put_range(sensor, message.range, message.field_of_view, limits, measured_s, received_s)

    def _age_s(self, message: Any) -> float:
        return (now_ns(self) - to_ns(message.header.stamp)) * 1e-9

    def _report(self, source: Source, refusal: str) -> None:
        if refusal:
            self.get_logger().warning(f"refused a {source.value} command: {refusal}", throttle_duration_sec=5.0)

    def _on_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("gate/stop was called; call gate/resume to continue")
        # The zero does not wait for the disk; the answer does.
        self._tick()
        self._remember()
        response.success, response.message = True, f"stopped; call gate/resume to continue{self._warning()}"
        self.get_logger().warning(response.message)
        return response

    def _on_resume(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        was_stopped, kept = self._gate.stopped, self._latch.clear()
        self._gate.resume()
        self._unremembered = ""
        response.success, response.message = True, "resumed" if was_stopped else "was not stopped"
        if kept:
            response.message += f"; after a restart the gate will be stopped until gate/resume is called again: {kept}"
            self.get_logger().warning(response.message)
        return response

    def _remember(self) -> None:
        """Keep the stop on the disk, for a gate that is started later."""
        self._unremembered = self._latch.set()

    def _warning(self) -> str:
        return f"; after a restart the gate will not be stopped: {self._unremembered}" if self._unremembered else ""

    def _tick(self) -> None:
        now_s = time.monotonic()
        before, self._output = self._output, self._gate.tick(now_s)
        self._commands.send(self._output.velocity)
        gripper = self._output.gripper
        if gripper is not None:
            changed = gripper != self._gripper_sent
            if changed or now_s - self._gripper_sent_at >= _GRIPPER_REPEAT_S:
                self._commands.send_gripper(gripper)
                self._gripper_sent, self._gripper_sent_at = gripper, now_s
        changed = (before.driver, before.reason) != (self._output.driver, self._output.reason)
        if changed or now_s - self._status_at >= _STATUS_PERIOD_S:
            self._status_at = now_s
            self._publish_status(now_s)

    def _publish_status(self, now_s: float) -> None:
        """Publish what was decided at ``now_s``, with the ages at that time."""
        counters = self._gate.counters
        status = GateStatus(
            driver=int(self._output.driver),
            stopped=self._gate.stopped,
            reason=self._output.reason,
            fault=self._fault,
            gripper=math.nan if self._output.gripper is None else self._output.gripper,
            teleop_age_s=self._gate.age_s(Source.TELEOP, now_s),
            policy_age_s=self._gate.age_s(Source.POLICY, now_s),
            clamped=counters.clamped,
            refused=counters.refused,
            timeouts=counters.timeouts,
        )
        status.header.stamp = self.get_clock().now().to_msg()
        status.header.frame_id = self._contract.action.frame
        velocity = self._output.velocity
        status.output.linear.x, status.output.linear.y = velocity.x, velocity.y
        status.output.angular.z = velocity.yaw_rate
        self._status_publisher.publish(status)

    def _adapt(self) -> None:
        """Use the velocity types of the other ends, if ``stamped`` is auto."""
        self._commands.adapt()
        for subscription in self._sources.values():
            subscription.follow()

    def _health(self) -> Health:
        counters = self._gate.counters
        values = {
            "driver": self._output.driver.name.lower(),
            "clamped": counters.clamped,
            "refused": counters.refused,
            "last refusal": self._gate.last_refusal,
            "timeouts": counters.timeouts,
            "scheduling": self._scheduling,
        }
        faults = [fault for fault in (self._rivals(), self._unheard()) if fault]
        for fault in faults:
            if fault not in self._fault:
                self.get_logger().error(fault)
        self._note_faults([*self._diagnostics.wrong_types, *faults])
        if faults:
            return Health(ERROR, "; ".join(faults), values)
        if self._gate.stopped:
            if not self._latch.since():
                # The file was removed meanwhile.
                self._remember()
            return Health(WARN, f"{self._output.reason}{self._warning()}", values)
        now_s = time.monotonic()
        keep_in, obstacles = self._gate.keep_in, self._gate.obstacles
        if problem := keep_in.problem(now_s) or obstacles.problem(now_s) or obstacles.unseen:
            return Health(WARN, problem, values)
        if refused := self._gate.refused_now(now_s):
            return Health(WARN, f"commands are refused: {refused}", values)
        return Health(OK, self._output.reason, values)

    def _rivals(self) -> str:
        """Return, in one line, which other nodes publish this gate's output; empty if none does."""
        names = ", ".join(self._commands.rivals())
        advice = "stop it, or remap it to cmd_vel_teleop; only the gate may drive the robot"
        return f"'{self._commands.velocity_topic}' is also published by {names}: {advice}" if names else ""

    def _unheard(self) -> str:
        """Return, in one line, that no robot has listened for some time; empty if one has."""
        problem, now_s = self._commands.unheard(), time.monotonic()
        if not problem:
            self._heard_at = now_s
        return problem if now_s - self._heard_at > _HEARD_WITHIN_S else ""

    def _note_faults(self, faults: list[str]) -> None:
        """Publish the status at once when what is connected wrongly has changed."""
        fault = "; ".join(faults)
        if fault != self._fault:
            self._fault = fault
            self._publish_status(time.monotonic())


def main() -> None:
    """Run the gate until it is stopped."""
    # Its zeros must not wait for what a killed process has left behind; and its messages are small.
    without_shared_memory()
    sys.exit(run(partial(CommandGateNode, ask_for_realtime())))


if __name__ == "__main__":
    main()
