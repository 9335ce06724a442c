"""What the policy tells the gate: velocity and gripper, both halves or neither."""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.duration import Duration

from mobile_vla_data.action import ActionCodec, Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_policy.runtime.driver import DriveState, Tick
from mobile_vla_policy.runtime.statistics import RateMeter
from mobile_vla_ros.convert import to_stamp, velocity_message, velocity_type
from mobile_vla_ros.qos import COMMAND

#: How long zeros are sent once there is nothing to follow; then silence, so that the gate shows that nobody drives.
_ZEROS_S = 0.5


class Commands:
    """Publishes ``cmd_vel_policy`` and ``gripper/command_policy`` while armed.

    The publishers exist only then: who is idle, or an onlooker in shadow mode, is no rival of the one who drives.
    """

    def __init__(self, node: Any, contract: Contract, rate_hz: float, stamped: bool) -> None:
        self._node, self._frame, self._stamped = node, contract.action.frame, stamped
        self._codec = ActionCodec(contract)
        self._zeros = math.ceil(_ZEROS_S * rate_hz)
        self._zeros_left = 0
        self._rate = RateMeter()
        self._velocity_publisher: Any = None
        self._gripper_publisher: Any = None

    @property
    def rate_hz(self) -> float:
        """Velocity commands per second, measured [Hz]."""
        return self._rate.rate_hz(time.monotonic())

    def set_armed(self, armed: bool) -> None:
        """:meth:`arm` or :meth:`disarm`."""
        if armed:
            self.arm()
        else:
            self.disarm()

    def arm(self) -> None:
        """Be able to command from now on."""
        if self._velocity_publisher is None:
            velocity = velocity_type(self._stamped)
            self._velocity_publisher = self._node.create_publisher(velocity, "cmd_vel_policy", COMMAND)
            self._gripper_publisher = self._node.create_publisher(GripperCommand, "gripper/command_policy", COMMAND)

    def disarm(self) -> None:
        """Tell the robot to stand, wait until that has arrived where somebody listens, and command no more."""
        if self._velocity_publisher is None:
            return
        self.stop()
        self._velocity_publisher.wait_for_all_acked(Duration(seconds=0.5))
        self._node.destroy_publisher(self._velocity_publisher)
        self._node.destroy_publisher(self._gripper_publisher)
        self._velocity_publisher = self._gripper_publisher = None

    def rivals(self) -> list[str]:
        """Other nodes that command in the policy's name; one that was killed is listed for some seconds more."""
        if self._velocity_publisher is None:
            return []
        infos = self._node.get_publishers_info_by_topic(self._velocity_publisher.topic_name)
        # Discovery may know a publisher before it knows whose it is; ours is among those.
        known = [info for info in infos if "UNKNOWN" not in info.node_name]
        names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in known]
        mine = self._node.get_fully_qualified_name()
        if mine in names:
            names.remove(mine)
        return sorted(names)

    def send(self, tick: Tick) -> None:
        """Send what a tick of the driver says, its action or zeros; nothing while disarmed."""
        if self._velocity_publisher is None:
            return
        if tick.state is DriveState.IDLE:
            self._zeros_left -= 1
            if self._zeros_left >= 0:
                self.stop()
            return
        self._zeros_left = self._zeros
        action = tick.action
        velocity = Velocity() if action is None else self._codec.to_velocity(action.delta_x, action.delta_y)
        if not velocity.finite:
            # Neither half of a command that is not whole.
            velocity, action = Velocity(), None
        self._publish(velocity)
        if action is not None:
            command = GripperCommand(position=1.0 if action.gripper_closed else 0.0)
            command.header.stamp = to_stamp(self._now_ns())
            command.header.frame_id = self._frame
            self._gripper_publisher.publish(command)

    def stop(self) -> None:
        """Tell the robot to stand. The gripper keeps what it holds."""
        self._publish(Velocity())

    def _publish(self, velocity: Velocity) -> None:
        message = velocity_message(velocity, stamped=self._stamped, stamp_ns=self._now_ns(), frame_id=self._frame)
        self._velocity_publisher.publish(message)
        self._rate.tick(time.monotonic())

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
