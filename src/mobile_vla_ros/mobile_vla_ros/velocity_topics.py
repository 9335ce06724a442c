"""Twist or TwistStamped: find out which of the two the other end of a velocity topic uses, and use the same.

DDS connects only endpoints of one type and reports nothing about others, so a base that expects the other type stands
still. With ``stamped: auto``, the gate sends what robots subscribe to, and subscribers take what is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import QoSProfile

from mobile_vla_ros.convert import velocity_type
from mobile_vla_ros.graph import is_onlooker, type_name


def robots(node: Any, topic: str) -> list[Any]:
    """Return the endpoints that subscribe to ``topic``, a full name, without nodes that only watch commands."""
    return [info for info in node.get_subscriptions_info_by_topic(topic) if not is_onlooker(info)]


def matching(stamped: bool, endpoints: Sequence[Any]) -> bool:
    """Return the type to use, True for TwistStamped: ``stamped``, unless every endpoint with a velocity uses the other.

    A topic with both types keeps ``stamped``; :func:`mobile_vla_ros.graph.wrong_types` reports the endpoints left out.
    """
    other = type_name(velocity_type(not stamped))
    types = {info.topic_type for info in endpoints}
    return not stamped if other in types and type_name(velocity_type(stamped)) not in types else stamped


def unheard(node: Any, topic: str) -> str:
    """Return, in one line, that no robot subscribes to ``topic``; empty if one does."""
    if robots(node, topic):
        return ""
    return f"no robot subscribes to '{topic}': start the driver of its base, or remap cmd_vel to the topic it reads"


class VelocitySubscription:
    """A subscription to a velocity topic; :meth:`follow` changes its type if the publishers use the other one.

    Args:
        node: owner of the subscription.
        topic: name of the topic.
        callback: called with each message, Twist or TwistStamped.
        qos: quality of service.
        stamped: True for TwistStamped, False for Twist, None for the type that is published.
    """

    def __init__(
        self, node: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile, *, stamped: bool | None
    ) -> None:
        self.stamped = bool(stamped)
        """True while it takes TwistStamped."""
        self._follows = stamped is None
        self._node, self._topic, self._callback, self._qos = node, topic, callback, qos
        self._subscription: Any = self._subscribe()

    def follow(self) -> None:
        """Take the type that is published; does nothing unless ``stamped`` was None. Call it about once a second."""
        if not self._follows or self._subscription is None:
            return
        publishers = self._node.get_publishers_info_by_topic(self._subscription.topic_name)
        if (stamped := matching(self.stamped, publishers)) != self.stamped:
            self.destroy()
            self.stamped = stamped
            self._subscription = self._subscribe()

    def destroy(self) -> None:
        """End the subscription."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription)

    def _subscribe(self) -> Any:
        return self._node.create_subscription(velocity_type(self.stamped), self._topic, self._callback, self._qos)
