"""The only way to publish commands: the velocity and gripper topics of one source."""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration

from mobile_vla_data.action import Velocity
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_stamp, velocity_message, velocity_type
from mobile_vla_ros.graph import NO_NAME, full_name
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.velocity_topics import matching, robots, unheard

#: How long a last zero may take until every subscriber has acknowledged it [s].
_ACKNOWLEDGED_WITHIN_S = 0.5


class CommandPublisher:
    """Publishes ``cmd_vel_<source>`` and ``gripper/command_<source>``; without a source, the topics of the robot.

    Args:
        node: owner of the publishers.
        source: ``teleop`` or ``policy``; empty for the gate, whose topics are ``cmd_vel`` and ``gripper/command``.
        frame: ``frame_id`` of the messages, ``contract.action.frame``.
        stamped: True for TwistStamped, False for Twist. None sends what robots subscribe to, see :meth:`adapt`; until
            one does, and from every source but the gate, that is Twist.
    """

    def __init__(self, node: Any, source: str, frame: str, *, stamped: bool | None) -> None:
        suffix = f"_{source}" if source else ""
        self._node = node
        self._frame = frame
        self._adapts = stamped is None and not source
        self._stamped = bool(stamped)
        self._topic = f"cmd_vel{suffix}"
        self._velocity = node.create_publisher(velocity_type(self._stamped), self._topic, COMMAND)
        self._gripper = node.create_publisher(GripperCommand, f"gripper/command{suffix}", COMMAND)

    @property
    def velocity_topic(self) -> str:
        """Full name of the velocity topic, after remapping."""
        return str(self._velocity.topic_name)

    @property
    def heard(self) -> bool:
        """True if something subscribes to the velocity topic with its type."""
        return bool(self._velocity.get_subscription_count())

    def adapt(self) -> None:
        """Send the type that robots subscribe to, if ``stamped`` was None. Call it about once a second."""
        if not self._adapts:
            return
        if (stamped := matching(self._stamped, robots(self._node, self.velocity_topic))) == self._stamped:
            return
        self._stamped = stamped
        self._node.destroy_publisher(self._velocity)
        self._velocity = self._node.create_publisher(velocity_type(stamped), self._topic, COMMAND)
        self._node.get_logger().info(f"sending {velocity_type(stamped).__name__} on '{self.velocity_topic}'")

    def unheard(self) -> str:
        """Return, in one line, that no robot subscribes to the velocity; empty if one does."""
        return unheard(self._node, self.velocity_topic)

    def send(self, velocity: Velocity) -> None:
        """Publish a velocity."""
        self._velocity.publish(
            velocity_message(velocity, stamped=self._stamped, stamp_ns=now_ns(self._node), frame_id=self._frame)
        )

    def send_gripper(self, position: float) -> None:
        """Publish a gripper position, 0 open .. 1 closed."""
        command = GripperCommand(position=position)
        command.header.stamp, command.header.frame_id = to_stamp(now_ns(self._node)), self._frame
        self._gripper.publish(command)

    def stop(self) -> None:
        """Publish a zero velocity and wait until every subscriber has acknowledged it, for half a second at most.

        The gripper keeps its position.
        """
        self.send(Velocity())
        self._velocity.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_WITHIN_S))

    def close(self) -> None:
        """Call :meth:`stop` and leave the graph. Nothing can be sent afterwards."""
        self.stop()
        self._node.destroy_publisher(self._velocity)
        self._node.destroy_publisher(self._gripper)

    def rivals(self) -> list[str]:
        """Return the full names of other nodes that publish this velocity, sorted.

        A node that was killed stays in the list for some seconds.
        """
        names = [full_name(info) for info in self._node.get_publishers_info_by_topic(self.velocity_topic)]
        mine = self._node.get_fully_qualified_name()
        # Discovery may know a publisher before it knows its node; this node's own publisher may be among those.
        own = mine if mine in names else NO_NAME
        if own in names:
            names.remove(own)
        return sorted(names)
