"""``ros2 topic pub``."""

from __future__ import annotations

import argparse
import time

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ros2_lite.cli import graph_node, interface, resolve, values, wait_for
from ros2_lite.messages import fill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("topic_name", help="topic, for example /cmd_vel_teleop")
    parser.add_argument("message_type", help="its type, for example geometry_msgs/msg/Twist")
    parser.add_argument("values", nargs="?", default="{}", help="fields as YAML; 'auto' for a header is the present")
    parser.add_argument("-r", "--rate", type=float, default=1.0, metavar="N", help="rate [Hz], 1 by default")
    parser.add_argument("-p", "--print", type=int, default=1, metavar="N", help="print every Nth message")
    count = parser.add_mutually_exclusive_group()
    count.add_argument("-1", "--once", action="store_true", help="publish one message and exit")
    count.add_argument("-t", "--times", type=int, default=0, metavar="N", help="publish N messages and exit")
    parser.add_argument("-w", "--wait-matching-subscriptions", type=int, metavar="N", help="wait for N; 1 with --once")
    parser.add_argument("--keep-alive", type=float, default=0.1, metavar="N", help="stay N seconds after the last one")
    parser.add_argument("--qos-depth", type=int, default=1, metavar="N", help="queue length")
    parser.add_argument("--qos-reliability", choices=["reliable", "best_effort"], default="reliable", help="reliable")
    parser.add_argument(
        "--qos-durability", choices=["transient_local", "volatile"], default="transient_local", help="transient_local"
    )


def run(arguments: argparse.Namespace) -> int:
    """Publish once, a number of times, or until Ctrl-C."""
    kind = interface(arguments.message_type, "msg")
    content = values(arguments.values)
    times = 1 if arguments.once else arguments.times
    wanted = arguments.wait_matching_subscriptions
    if wanted is None:
        wanted = 1 if times else 0
    qos = QoSProfile(
        depth=arguments.qos_depth,
        reliability=ReliabilityPolicy[arguments.qos_reliability.upper()],
        durability=DurabilityPolicy[arguments.qos_durability.upper()],
    )
    with graph_node() as node:

        def message() -> object:
            filled = kind()
            fill(filled, content, lambda: node.get_clock().now().to_msg())
            return filled

        message()
        publisher = node.create_publisher(kind, resolve(arguments.topic_name), qos)
        while not wait_for(lambda: publisher.get_subscription_count() >= wanted, 1.0):
            print(f"Waiting for at least {wanted} matching subscription(s)...", flush=True)
        print("publisher: beginning loop", flush=True)
        sent, due = 0, time.monotonic()
        while True:
            filled = message()
            publisher.publish(filled)
            sent += 1
            if arguments.print and sent % arguments.print == 0:
                print(f"publishing #{sent}: {filled!r}\n", flush=True)
            if sent == times:
                break
            due += 1.0 / arguments.rate
            time.sleep(max(0.0, due - time.monotonic()))
        time.sleep(arguments.keep_alive)
    return 0
