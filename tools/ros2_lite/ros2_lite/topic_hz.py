"""``ros2 topic hz``."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque

from ros2_lite.cli import graph_node, resolve
from ros2_lite.topic_echo import add_qos_arguments, matching_qos, message_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("topic_name", help="topic, for example /odom")
    parser.add_argument("-w", "--window", type=int, default=10_000, metavar="N", help="messages to average over")
    add_qos_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the rate once a second until Ctrl-C."""
    topic = resolve(arguments.topic_name)
    arrivals: deque[float] = deque(maxlen=arguments.window + 1)
    with graph_node() as node:
        kind = message_class(node, topic, None, timeout_s=float("inf") if sys.stdout.isatty() else 10.0)
        # Raw: a rate needs no decoded images.
        node.create_subscription(
            kind, topic, lambda _: arrivals.append(time.monotonic()), matching_qos(node, topic, arguments), raw=True
        )
        counted = 0
        while True:
            time.sleep(1.0)
            times = list(arrivals)
            if len(times) < 2 or times[-1] == counted:
                continue
            counted = times[-1]
            periods = [later - earlier for earlier, later in zip(times, times[1:])]  # noqa: B905, RUF007
            print(
                f"average rate: {1.0 / statistics.fmean(periods):.3f}\n"
                f"\tmin: {min(periods):.3f}s max: {max(periods):.3f}s "
                f"std dev: {statistics.pstdev(periods):.5f}s window: {len(periods)}",
                flush=True,
            )
