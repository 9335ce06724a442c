"""Commands of the policy to the gate: velocity and gripper, both or neither. In shadow mode they are only compared."""

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

#: Zeros are sent for this long without an instruction [s]; then silence, so that the gate reports no driver.
_ZEROS_S = 0.5


class Commands:
    """Publishes ``cmd_vel_policy`` and ``gripper/command_policy`` while armed.

    The publishers exist only then: a policy that is idle or in shadow mode is no rival of the one that drives. In
    shadow mode, an onlooker compares the commands of the policy with those that the robot gets.
    """

    def __init__(self, node: Any, contract: Contract, rate_hz: float, stamped: bool | None, gate: GateWatch) -> None:
        self._node, self._frame, self._stamped = node, contract.action.frame, stamped
        self._codec = ActionCodec(contract)
        self._has_gripper = contract.has_gripper
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
        """True while armed."""
        return self._publisher is not None

    @property
    def agreement(self) -> Agreement:
        """Agreement of the onlooker with the commands that the robot gets."""
        return self._onlooker.agreement

    def look_on(self) -> None:
        """Stop commanding, and compare instead."""
        # The last command of a driver that becomes an onlooker is to stop.
        self._end()
        self._onlooker.begin()

    def adapt(self) -> None:
        """Watch the velocity type that the gate sends, if ``stamped`` is auto."""
        self._onlooker.adapt()

    def arm(self) -> None:
        """Start to command."""
        self._onlooker.end()
        if self._publisher is None:
            self._publisher = CommandPublisher(self._node, "policy", self._frame, stamped=self._stamped)

    def disarm(self) -> None:
        """Stop the robot, wait until every subscriber has acknowledged that, and stop commanding or watching."""
        self._end()
        self._onlooker.end()

    def rivals(self) -> list[str]:
        """Return other nodes that command as the policy; one that was killed is listed for some more seconds."""
        return [] if self._publisher is None else self._publisher.rivals()

    def send(self, tick: Tick) -> None:
        """Send the action of a tick, or zeros; while disarmed, the onlooker may compare it."""
        action = tick.action
        velocity = (
            Velocity() if action is None else self._codec.to_velocity(action.delta_x, action.delta_y, action.delta_yaw)
        )
        if not velocity.finite:
            # Neither half of a command that is not finite.
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
        # An operator who has taken over decides about the gripper; earlier decisions do not count afterwards.
        decided = self._has_gripper and action is not None and not self._gate.operator_drives
        if decided and action is not None and action.gripper_closed is not None:
            self._publisher.send_gripper(float(action.gripper_closed))

    def _end(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def _send(self, publisher: CommandPublisher, velocity: Velocity) -> None:
        publisher.send(velocity)
        self._rate.tick(time.monotonic())
