"""Wrong connections: endpoints of different message types on one topic never meet, and DDS reports nothing."""

from __future__ import annotations

from typing import Any

#: Name of a node that discovery does not know (yet).
NO_NAME = "a node without a name"
_UNKNOWN_NODE = "_NODE_NAME_UNKNOWN_"
#: Beginnings of the names of nodes that watch commands and move nothing: this project's own, and tools.
_ONLOOKERS = (
    "recorder_node",
    "raw_recorder_node",
    "policy_node",
    "trial_node",
    "rosbag2",
    "rviz",
    "rqt",
    "foxglove",
    "rosbridge",
    "rosapi",
    "plotjuggler",
    "rerun",
)
_STAMPED = {"geometry_msgs/msg/Twist": "false", "geometry_msgs/msg/TwistStamped": "true"}


def full_name(info: Any) -> str:
    """Return the full name of the node that an endpoint belongs to."""
    if _UNKNOWN_NODE in info.node_name:
        return NO_NAME
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def is_onlooker(info: Any) -> bool:
    """Return True if an endpoint belongs to a node that watches commands, but moves no robot.

    Its name decides, because nothing else in the graph distinguishes a tool from the driver of a base. Names that begin
    with ``_`` are hidden in ROS, and tools use them (``_ros2cli_1234``). A node that discovery does not know yet also
    has such a name, and does not count as a tool.
    """
    name = info.node_name.lower()
    return name.startswith(_ONLOOKERS) or (name.startswith("_") and _UNKNOWN_NODE not in info.node_name)


def type_name(message_type: type) -> str:
    """Return the name of a message class as ROS writes it, for example ``geometry_msgs/msg/Twist``."""
    package, kind, *_ = message_type.__module__.split(".")
    return f"{package}/{kind}/{message_type.__name__}"


def wrong_types(node: Any) -> list[str]:
    """Return one line for each endpoint of another node that has another message type on a topic of ``node``."""
    types = {item.topic_name: type_name(item.msg_type) for item in (*node.publishers, *node.subscriptions)}
    found = set()
    for topic, ours in types.items():
        for verb, infos in (
            ("publishes", node.get_publishers_info_by_topic(topic)),
            ("subscribes to", node.get_subscriptions_info_by_topic(topic)),
        ):
            for info in infos:
                theirs = info.topic_type
                # An onlooker that takes the other type finds out by itself.
                looks_on = verb == "subscribes to" and _both_velocities(theirs, ours) and is_onlooker(info)
                if theirs != ours and not looks_on:
                    found.add(f"{full_name(info)} {verb} '{topic}' as {theirs}, not {ours}: {_advice(theirs, ours)}")
    return sorted(found)


def _advice(theirs: str, ours: str) -> str:
    if _both_velocities(theirs, ours):
        return f"set its parameter 'stamped' to {_STAMPED[ours]}, or 'stamped' of this node to {_STAMPED[theirs]}"
    return "change the type of one of them, or remap the topic"


def _both_velocities(theirs: str, ours: str) -> bool:
    return theirs in _STAMPED and ours in _STAMPED
