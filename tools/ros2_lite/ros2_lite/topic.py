"""``ros2 topic``: list, type, info, echo, hz, pub."""

from __future__ import annotations

import argparse

from rclpy.node import Node

from ros2_lite import topic_echo, topic_hz, topic_pub
from ros2_lite.cli import DISCOVERY_S, add_verb, graph_node, resolve, run_verb, settle, verbs_of, wait_for
from ros2_lite.errors import UserError

run = run_verb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "Output a list of available topics", list_topics)
    verb.add_argument("-t", "--show-types", action="store_true", help="show the types, too")
    verb.add_argument("-c", "--count-topics", action="store_true", help="only show their number")
    verb.add_argument("--include-hidden-topics", action="store_true", help="show hidden topics, too")
    verb = add_verb(verbs, "type", "Print a topic's type", show_type)
    verb.add_argument("topic_name", help="topic, for example /odom")
    verb = add_verb(verbs, "info", "Print information about a topic", show_info)
    verb.add_argument("topic_name", help="topic, for example /odom")
    verb.add_argument("-v", "--verbose", action="store_true", help="show every endpoint with its node and QoS")
    topic_echo.add_arguments(add_verb(verbs, "echo", "Output messages from a topic", topic_echo.run))
    topic_hz.add_arguments(add_verb(verbs, "hz", "Print the average publishing rate", topic_hz.run))
    topic_pub.add_arguments(add_verb(verbs, "pub", "Publish a message to a topic", topic_pub.run))


def list_topics(arguments: argparse.Namespace) -> int:
    """Print the topics."""
    with graph_node() as node:
        topics = settle(node, lambda: sorted(node.get_topic_names_and_types()))
    shown = [
        (name, types)
        for name, types in topics
        if arguments.include_hidden_topics or not any(part.startswith("_") for part in name.split("/"))
    ]
    if arguments.count_topics:
        print(len(shown))
        return 0
    for name, types in shown:
        print(f"{name} [{', '.join(types)}]" if arguments.show_types else name)
    return 0


def types_of(node: Node, topic: str) -> list[str]:
    """Types of a topic, as soon as it is seen; empty when it is not."""

    def look() -> list[str]:
        return dict(node.get_topic_names_and_types()).get(topic, [])

    found: list[str] = wait_for(look, DISCOVERY_S)
    return found


def show_type(arguments: argparse.Namespace) -> int:
    """Print a topic's type."""
    with graph_node() as node:
        types = types_of(node, resolve(arguments.topic_name))
    print("\n".join(types), end="\n" if types else "")
    return 0 if types else 1


def show_info(arguments: argparse.Namespace) -> int:
    """Print type, publishers and subscriptions of a topic."""
    topic = resolve(arguments.topic_name)
    with graph_node() as node:
        types = types_of(node, topic)
        if not types:
            raise UserError(f"Unknown topic '{arguments.topic_name}'")
        settle(node)
        print(f"Type: {types[0] if len(types) == 1 else types}")
        for text, count, endpoints in (
            ("Publisher count", node.count_publishers(topic), node.get_publishers_info_by_topic(topic)),
            ("Subscription count", node.count_subscribers(topic), node.get_subscriptions_info_by_topic(topic)),
        ):
            print(f"\n{text}: {count}\n" if arguments.verbose else f"{text}: {count}")
            if arguments.verbose:
                for endpoint in endpoints:
                    print(f"{endpoint}\n")
    return 0
