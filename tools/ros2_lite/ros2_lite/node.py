"""``ros2 node``: list, info."""

from __future__ import annotations

import argparse

from rclpy.action.graph import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node

from ros2_lite.cli import add_verb, graph_node, node_names, print_names, require_node, run_verb, settle, verbs_of

run = run_verb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "Output a list of available nodes", list_nodes)
    verb.add_argument("-a", "--all", action="store_true", help="hidden nodes, too")
    verb.add_argument("-c", "--count-nodes", action="store_true", help="only show their number")
    verb = add_verb(verbs, "info", "Output information about a node", show_info)
    verb.add_argument("node_name", help="node, for example /recorder_node")
    verb.add_argument("--include-hidden", action="store_true", help="hidden topics and services, too")


def list_nodes(arguments: argparse.Namespace) -> int:
    """Print the nodes."""
    with graph_node() as node:
        names = node_names(node, hidden=arguments.all)
    print_names(names, arguments.count_nodes)
    return 0


def show_info(arguments: argparse.Namespace) -> int:
    """Print what a node publishes, subscribes, offers and uses."""
    with graph_node() as node:
        wanted = require_node(node, arguments.node_name)
        namespace, _, name = wanted.rpartition("/")
        namespace = namespace or "/"
        sections = {
            "Subscribers": lambda: node.get_subscriber_names_and_types_by_node(name, namespace),
            "Publishers": lambda: node.get_publisher_names_and_types_by_node(name, namespace),
            "Service Servers": lambda: node.get_service_names_and_types_by_node(name, namespace),
            "Service Clients": lambda: node.get_client_names_and_types_by_node(name, namespace),
            "Action Servers": lambda: get_action_server_names_and_types_by_node(node, name, namespace),
            "Action Clients": lambda: get_action_client_names_and_types_by_node(node, name, namespace),
        }
        found = settle(node, lambda: [sorted(look()) for look in sections.values()])
    print(wanted)
    for title, entries in zip(sections, found, strict=True):
        print(f"  {title}:")
        for entry, types in entries:
            if arguments.include_hidden or not any(part.startswith("_") for part in entry.split("/")):
                print(f"    {entry}: {', '.join(types)}")
    return 0
