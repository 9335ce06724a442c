"""Drive the actions of an episode again, through the gate, and measure the distance from the recorded path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mobile_vla_collect.replay.deviation import Deviation, aligned, compare_paths
from mobile_vla_data.action import ActionCodec, Velocity, displacement, gripper, position, yaw
from mobile_vla_data.compatibility import same_frame
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.pose_input import PoseInput
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.run import StartError

#: The velocity is repeated this often, so that the gate does not time out in a long period [s].
_REPEAT_S = 0.05
#: Without a position for this long, the robot is stopped [s].
_SILENT_S = 1.0
#: Time that the gate may take to follow the first command [s].
_FOLLOWS_WITHIN_S = 2.0


class ActionReplay:
    """Sends the recorded actions as ``cmd_vel_policy`` and ``gripper/command_policy``; an operator can take over.

    At ``speed`` s a velocity is s times the recorded one, for 1 / s of the period: the path is the same. The robot is
    stopped when it is further than ``max_deviation_m`` from the recorded position, when an operator takes over, when
    ``gate/stop`` is called, and when the position falls silent.

    Raises:
        StartError: the speed would exceed the contract's limits.
    """

    def __init__(
        self,
        node: Any,
        contract: Contract,
        episode: Episode,
        *,
        speed: float,
        max_deviation_m: float,
        stamped: bool | None,
    ) -> None:
        self._contract, self._speed, self._max_deviation_m = contract, speed, max_deviation_m
        self._velocities = _velocities(contract, episode, speed)
        self._gripper = [float(value) for value in gripper(episode.actions)] if contract.has_gripper else []
        self.recorded = np.asarray(position(episode.states), dtype=np.float64)
        """float64 ``[T, 2]``: x, y [m] at each step, in the odometry frame of the recording."""
        self.driven: list[tuple[float, float]] = []
        """x, y [m] at each step driven so far, in the odometry frame of now."""
        self.ended = ""
        """Why it ended; empty while it has not, or if all steps were driven."""
        self._pose: tuple[float, float, float] | None = None
        """x, y [m] and when it came [s]."""
        self._no_pose = ""
        self._gate: GateStatus | None = None
        self._clamped_before = 0
        self._waited_s = 0.0
        """Time in which the gate has not followed yet [s]. Zeros are sent until then, so that no step is lost."""
        self._drive_s: float | None = None
        """Time of the drive [s]; no tick counts more than a period, so a late node skips no step. None: waiting."""
        self._sent_s = -math.inf
        self._now_s = 0.0
        self._commands = CommandPublisher(node, "policy", contract.action.frame, stamped=stamped)
        self._input = PoseInput(node, contract, self._on_pose, self._on_no_pose)
        self._subscription = node.create_subscription(GateStatus, "gate/status", self._on_gate, EVERY_STATUS)

    @property
    def steps(self) -> int:
        """Steps to drive."""
        return len(self._velocities)

    @property
    def deviation(self) -> Deviation | None:
        """Deviation of the steps driven so far; None before the first."""
        if not self.driven:
            return None
        return compare_paths(self.recorded[: len(self.driven)], np.array(self.driven))

    @property
    def limited(self) -> int:
        """Commands that the gate reduced since the begin."""
        return int(self._gate.clamped) - self._clamped_before if self._gate is not None else 0

    def missing(self, now_s: float) -> str:
        """Return, in one line, what is missing before it can begin; empty if nothing is. Times are monotonic [s]."""
        self._now_s = now_s
        if self._gate is None or not self._commands.heard:
            return "no command gate: nothing arrives on 'gate/status', or nothing takes the commands; start one"
        if self._gate.stopped:
            return f"the robot is stopped: {self._gate.reason}"
        if self._gate.driver == GateStatus.DRIVER_TELEOP:
            return "an operator drives; release the controls"
        if rivals := self._commands.rivals():
            return f"'{self._commands.velocity_topic}' is also published by {', '.join(rivals)}: stop it"
        if self._pose is None or now_s - self._pose[2] > _SILENT_S:
            return self._no_pose or f"no position arrives on '{self._input.topic}'"
        return ""

    def tick(self, now_s: float) -> bool:
        """Send what is due; return True when the end is reached. The robot stands still then."""
        if not self.driven:
            assert self._gate is not None
            self._now_s, self._clamped_before = now_s, int(self._gate.clamped)
        due = self._due(now_s)
        step = due or 0
        while len(self.driven) <= min(step, self.steps - 1):
            assert self._pose is not None
            self.driven.append(self._pose[:2])
            self._sent_s = -math.inf
        self.ended = self._fault(now_s)
        if self.ended or step >= self.steps:
            self._commands.stop()
            return True
        if now_s - self._sent_s >= _REPEAT_S:
            self._sent_s = now_s
            self._commands.send(Velocity() if due is None else self._velocities[due])
            if self._gripper and due is not None:
                self._commands.send_gripper(self._gripper[due])
        return False

    def abort(self, why: str) -> None:
        """Stop the robot before the end."""
        self.ended = why
        self._commands.stop()

    def close(self) -> None:
        """Stop the robot and leave the graph."""
        self._commands.close()

    def _due(self, now_s: float) -> int | None:
        """Advance to ``now_s`` and return the step that is due; None until the gate follows."""
        passed_s, self._now_s = now_s - self._now_s, now_s
        if self._drive_s is not None:
            self._drive_s += min(passed_s, self._contract.period_s / self._speed)
        elif self._gate is not None and self._gate.driver == GateStatus.DRIVER_POLICY:
            self._drive_s, self._sent_s = 0.0, -math.inf
        else:
            self._waited_s += passed_s
            return None
        return int(self._drive_s * self._speed / self._contract.period_s)

    def _fault(self, now_s: float) -> str:
        """Return why the robot has to be stopped now; empty if it need not."""
        assert self._pose is not None and self._gate is not None
        step = len(self.driven) - 1
        if self._gate.driver == GateStatus.DRIVER_TELEOP:
            return f"an operator took over at step {step}"
        if self._gate.stopped:
            return f"the robot was stopped at step {step}: {self._gate.reason}"
        phase_s = self._waited_s if self._drive_s is None else self._drive_s
        if self._gate.driver == GateStatus.DRIVER_NONE and phase_s > _FOLLOWS_WITHIN_S:
            return f"the gate did not follow at step {step}: {self._gate.reason}"
        if now_s - self._pose[2] > _SILENT_S:
            return f"'{self._input.topic}' fell silent at step {step}"
        expected, _ = aligned(self.recorded[: step + 1], np.array(self.driven))
        apart_m = math.dist(expected[-1], self.driven[-1])
        if apart_m > self._max_deviation_m:
            limit = f"max_deviation_m is {self._max_deviation_m:g}"
            return f"{apart_m:.2f} m from the recorded position at step {step}, {limit}"
        return ""

    def _on_pose(self, _stamp_ns: int, x: float, y: float, _rotation: object, frame: str) -> None:
        wanted = self._contract.state.odometry_frame
        if not same_frame(frame, wanted):
            self._no_pose = f"positions on '{self._input.topic}' are in '{frame}', the contract says '{wanted}'"
            return
        if math.isfinite(x) and math.isfinite(y):
            self._pose = x, y, self._now_s

    def _on_no_pose(self, why: str) -> None:
        self._no_pose = why

    def _on_gate(self, status: GateStatus) -> None:
        self._gate = status


def _velocities(contract: Contract, episode: Episode, speed: float) -> list[Velocity]:
    """Return the velocity of each step. Raises :class:`StartError` when one exceeds the limits at this speed."""
    codec, actions = ActionCodec(contract), episode.actions
    turns = yaw(actions)
    turns = np.zeros(len(actions)) if turns is None else turns
    found = []
    for step, (moved, turn) in enumerate(zip(displacement(actions), turns, strict=True)):
        velocity = codec.to_velocity(float(moved[0]), float(moved[1]), float(turn))
        if not velocity.finite:
            raise StartError(f"{episode.path}: actions[{step}] is not finite; run 'mobile-vla-data validate'")
        found.append(Velocity(speed * velocity.x, speed * velocity.y, speed * velocity.yaw_rate))
    limits = contract.limits
    share = max(
        max(math.hypot(item.x, item.y) / limits.linear_m_s, abs(item.yaw_rate) / limits.angular_rad_s) for item in found
    )
    # Integrated commands round a little above a limit that the robot did keep.
    if share > 1.001 and speed > 1.0:
        raise StartError(
            f"{episode.path}: at speed {speed:g} a step needs {share:.2f} times what the contract allows; use a speed "
            f"of at most {max(1.0, math.floor(100 * speed / share) / 100):g}"
        )
    return found
