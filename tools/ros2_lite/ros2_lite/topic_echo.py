"""``ros2 topic echo``."""

from __future__ import annotations

import argparse
import queue
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ros2_lite.cli import DISCOVERY_S, graph_node, interface, resolve, wait_for
from ros2_lite.errors import UserError
from ros2_lite.messages import Format, field_of, to_csv, to_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("topic_name", help="topic, for example /odom")
    parser.add_argument("message_type", nargs="?", help="its type, when nobody publishes it yet")
    parser.add_argument("--once", action="store_true", help="print the first message and exit")
    parser.add_argument("--timeout", type=float, metavar="N", help="give up after N seconds without a message")
    parser.add_argument("--field", metavar="FIELD", help="print only this field, for example pose.pose.position")
    parser.add_argument("--csv", action="store_true", help="print the values on one line")
    parser.add_argument("-f", "--full-length", action="store_true", help="do not shorten long values")
    parser.add_argument("-l", "--truncate-length", type=int, default=128, metavar="N", help="shorten them to N")
    parser.add_argument("--flow-style", action="store_true", help="print collections on one line")
    parser.add_argument("--no-arr", action="store_true", help="print only the length of arrays")
    parser.add_argument("--no-str", action="store_true", help="print only the length of strings")
    add_qos_arguments(parser)


def add_qos_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the quality of service."""
    parser.add_argument("--qos-depth", type=int, default=5, metavar="N", help="queue length")
    parser.add_argument("--qos-reliability", choices=["reliable", "best_effort"], help="default: as the publishers")
    parser.add_argument("--qos-durability", choices=["transient_local", "volatile"], help="default: as the publishers")


def matching_qos(node: Node, topic: str, arguments: argparse.Namespace) -> QoSProfile:
    """A profile to which every publisher of the topic matches, unless the user says otherwise."""
    profiles = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    reliable = bool(profiles) and all(item.reliability == ReliabilityPolicy.RELIABLE for item in profiles)
    latched = bool(profiles) and all(item.durability == DurabilityPolicy.TRANSIENT_LOCAL for item in profiles)
    if arguments.qos_reliability:
        reliable = arguments.qos_reliability == "reliable"
    if arguments.qos_durability:
        latched = arguments.qos_durability == "transient_local"
    return QoSProfile(
        depth=arguments.qos_depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def message_class(node: Node, topic: str, type_name: str | None, timeout_s: float = DISCOVERY_S) -> Any:
    """Class of the topic's messages: as named, or as published. Raises UserError."""
    if type_name:
        return interface(type_name, "msg")
    types = wait_for(lambda: dict(node.get_topic_names_and_types()).get(topic), timeout_s)
    if not types:
        raise UserError(
            f"WARNING: topic [{topic}] does not appear to be published yet\n"
            "Could not determine the type for the passed topic"
        )
    if len(types) > 1:
        raise UserError(f"Cannot echo topic '{topic}', as it contains more than one type: [{', '.join(types)}]")
    # Publishers are announced one by one: the profile must suit all of them.
    wait_for(lambda: node.get_publishers_info_by_topic(topic), 1.0)
    return interface(types[0], "msg")


def run(arguments: argparse.Namespace) -> int:
    """Print messages until Ctrl-C, or the first one."""
    topic = resolve(arguments.topic_name)
    style = Format(
        None if arguments.full_length else arguments.truncate_length,
        arguments.no_arr,
        arguments.no_str,
        arguments.flow_style,
    )
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with graph_node() as node:
        kind = message_class(node, topic, arguments.message_type)
        node.create_subscription(kind, topic, messages.put, matching_qos(node, topic, arguments))
        while True:
            try:
                message = messages.get(timeout=arguments.timeout)
            except queue.Empty:
                raise UserError(f"no message on {topic} within {arguments.timeout:g} s") from None
            value = field_of(message, arguments.field) if arguments.field else message
            print(to_csv(value, style) if arguments.csv else f"{to_yaml(value, style)}---", flush=True)
            if arguments.once:
                return 0
