"""``ros2 topic``: list, info, echo, hz, pub."""

from __future__ import annotations

import queue
import statistics
import time
from collections import deque
from itertools import pairwise
from typing import Annotated, Any

import typer
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ros2_lite.errors import UserError
from ros2_lite.graph import DISCOVERY_S, fields, graph_node, interface, print_names, resolve, settled, wait_for
from ros2_lite.messages import field_of, fill, to_yaml

verbs = typer.Typer(help="list, info, echo, hz, pub", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.add_typer(verbs, name="topic")


@verbs.command("list")
def list_topics(show_types: Annotated[bool, typer.Option("-t", "--show-types")] = False) -> None:
    """Print the topics."""
    print_names(Node.get_topic_names_and_types, show_types)


@verbs.command()
def info(
    topic_name: str, verbose: Annotated[bool, typer.Option("-v", "--verbose", help="every endpoint, its QoS")] = False
) -> None:
    """Print type, publishers and subscriptions of a topic."""
    topic = resolve(topic_name)
    with graph_node() as node:
        types = _types_of(node, topic)
        publishers, subscriptions = settled(
            node, lambda: (node.get_publishers_info_by_topic(topic), node.get_subscriptions_info_by_topic(topic))
        )
    print(f"Type: {types[0] if len(types) == 1 else types}")
    for title, endpoints in (("Publisher count", publishers), ("Subscription count", subscriptions)):
        print(f"\n{title}: {len(endpoints)}")
        for endpoint in endpoints if verbose else ():
            print(f"\n{endpoint}")


@verbs.command()
def echo(
    topic_name: str,
    once: Annotated[bool, typer.Option("--once", help="print one message and exit")] = False,
    field: Annotated[str, typer.Option(metavar="FIELD", help="only this field: pose.pose.position")] = "",
    full_length: Annotated[bool, typer.Option("-f", "--full-length", help="do not shorten long values")] = False,
) -> None:
    """Print messages until Ctrl-C."""
    topic = resolve(topic_name)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with graph_node() as node:
        kind = _published(node, topic)
        node.create_subscription(kind, topic, messages.put, _matching_qos(node, topic))
        while True:
            message = messages.get()
            print(
                f"{to_yaml(field_of(message, field) if field else message, None if full_length else 128)}---",
                flush=True,
            )
            if once:
                return


@verbs.command()
def hz(topic_name: str) -> None:
    """Print the rate once a second until Ctrl-C."""
    topic = resolve(topic_name)
    arrivals: deque[float] = deque(maxlen=10_000)
    with graph_node() as node:
        kind = _published(node, topic)
        # Raw: a rate needs no decoded images.
        node.create_subscription(
            kind, topic, lambda _: arrivals.append(time.monotonic()), _matching_qos(node, topic), raw=True
        )
        newest = 0.0
        while True:
            time.sleep(1.0)
            times = list(arrivals)
            if len(times) < 2 or times[-1] == newest:
                continue
            newest = times[-1]
            periods = [later - earlier for earlier, later in pairwise(times)]
            print(
                f"average rate: {1.0 / statistics.fmean(periods):.3f}\n"
                f"\tmin: {min(periods):.3f}s max: {max(periods):.3f}s "
                f"std dev: {statistics.pstdev(periods):.5f}s window: {len(periods)}",
                flush=True,
            )


@verbs.command()
def pub(
    topic_name: str,
    message_type: Annotated[str, typer.Argument(help="for example geometry_msgs/msg/Twist")],
    values: Annotated[str, typer.Argument(help="fields as YAML")] = "{}",
    rate: Annotated[float, typer.Option("-r", "--rate", min=0.001, help="[Hz]")] = 1.0,
    once: Annotated[bool, typer.Option("-1", "--once", help="publish one message to a subscriber and exit")] = False,
) -> None:
    """Publish until Ctrl-C."""
    kind = interface(message_type, "msg")
    message = kind()
    fill(message, fields(values))
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with graph_node() as node:
        publisher = node.create_publisher(kind, resolve(topic_name), qos)
        while once and not wait_for(publisher.get_subscription_count, 1.0):
            print("Waiting for at least 1 matching subscription(s)...", flush=True)
        print("publisher: beginning loop", flush=True)
        sent = 0
        while True:
            sent += 1
            publisher.publish(message)
            print(f"publishing #{sent}: {message!r}\n", flush=True)
            if once:
                time.sleep(0.1)  # until it has left
                return
            time.sleep(1.0 / rate)


def _types_of(node: Node, topic: str) -> list[str]:
    types: list[str] = wait_for(lambda: dict(node.get_topic_names_and_types()).get(topic, []), DISCOVERY_S)
    if not types:
        raise UserError(f"topic {topic} does not exist")
    return types


def _published(node: Node, topic: str) -> Any:
    """Return the class of a topic's messages."""
    types = _types_of(node, topic)
    if len(types) > 1:
        raise UserError(f"topic {topic} has more than one type: {', '.join(types)}")
    # Publishers are announced one by one: the profile must suit all of them.
    wait_for(lambda: node.get_publishers_info_by_topic(topic), 1.0)
    return interface(types[0], "msg")


def _matching_qos(node: Node, topic: str) -> QoSProfile:
    """Return a profile that every publisher of the topic matches."""
    profiles = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    reliable = bool(profiles) and all(item.reliability == ReliabilityPolicy.RELIABLE for item in profiles)
    latched = bool(profiles) and all(item.durability == DurabilityPolicy.TRANSIENT_LOCAL for item in profiles)
    return QoSProfile(
        depth=5,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
