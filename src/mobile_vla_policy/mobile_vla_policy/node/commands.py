"""What the policy tells the gate, or in shadow mode would have told it: velocity and gripper, both or neither."""

from __future__ import annotations

import math
import time
from typing import Any

from mobile_vla_data.action import ActionCodec, Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_policy.node.gate_watch import GateWatch
from mobile_vla_policy.node.onlooker import Onlooker
from mobile_vla_policy.runtime.comparison import Agreement
from mobile_vla_policy.runtime.driver import DriveState, Tick
from mobile_vla_policy.runtime.statistics import RateMeter
from mobile_vla_ros.command_publisher import CommandPublisher

#: How long zeros are sent once there is nothing to follow; then silence, so that the gate shows that nobody drives.
_ZEROS_S = 0.5


class Commands:
    """Publishes ``cmd_vel_policy`` and ``gripper/command_policy`` while armed.

    The publishers exist only then: who is idle, or an onlooker in shadow mode, is no rival of the one who drives. An
    onlooker compares what it would have published with what the robot is told.
    """

    def __init__(self, node: Any, contract: Contract, rate_hz: float, stamped: bool, gate: GateWatch) -> None:
        self._node, self._frame, self._stamped = node, contract.action.frame, stamped
        self._codec = ActionCodec(contract)
        self._zeros = math.ceil(_ZEROS_S * rate_hz)
        self._zeros_left = 0
        self._rate = RateMeter()
        self._gate = gate
        self._onlooker = Onlooker(node, contract, stamped, gate)
        self._publisher: CommandPublisher | None = None

    @property
    def rate_hz(self) -> float:
        """Velocity commands per second, measured [Hz]."""
        return self._rate.rate_hz(time.monotonic())

    @property
    def armed(self) -> bool:
        """Whether it commands."""
        return self._publisher is not None

    @property
    def agreement(self) -> Agreement:
        """How well the onlooker agrees with what the robot is told."""
        return self._onlooker.agreement

    def look_on(self) -> None:
        """Command no more, and compare instead."""
        # The last thing that a driver who becomes an onlooker does is to stop.
        self._end()
        self._onlooker.begin()

    def arm(self) -> None:
        """Be able to command from now on."""
        self._onlooker.end()
        if self._publisher is None:
            self._publisher = CommandPublisher(self._node, "policy", self._frame, stamped=self._stamped)

    def disarm(self) -> None:
        """Tell the robot to stand, wait until that has arrived where somebody listens, and command no more.

        An onlooker ends, too.
        """
        self._end()
        self._onlooker.end()

    def rivals(self) -> list[str]:
        """Other nodes that command in the policy's name; one that was killed is listed for some seconds more."""
        return [] if self._publisher is None else self._publisher.rivals()

    def send(self, tick: Tick) -> None:
        """Send what a tick of the driver says, its action or zeros; while disarmed, an onlooker compares it at most."""
        action = tick.action
        velocity = Velocity() if action is None else self._codec.to_velocity(action.delta_x, action.delta_y)
        if not velocity.finite:
            # Neither half of a command that is not whole.
            velocity, action = Velocity(), None
        if self._publisher is None:
            if action is not None:
                self._onlooker.compare(velocity, action.gripper_closed)
            return
        if tick.state is DriveState.IDLE:
            self._zeros_left -= 1
            if self._zeros_left >= 0:
                self._send(self._publisher, Velocity())
            return
        self._zeros_left = self._zeros
        self._send(self._publisher, velocity)
        # A human who has taken over decides about the gripper, and what was decided before counts no more afterwards.
        if action is not None and action.gripper_closed is not None and not self._gate.human_drives:
            self._publisher.send_gripper(float(action.gripper_closed))

    def _end(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def _send(self, publisher: CommandPublisher, velocity: Velocity) -> None:
        publisher.send(velocity)
        self._rate.tick(time.monotonic())
