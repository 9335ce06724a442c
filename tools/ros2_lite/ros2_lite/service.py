"""``ros2 service``: list, type, call."""

from __future__ import annotations

import argparse

from ros2_lite.cli import (
    DISCOVERY_S,
    add_verb,
    graph_node,
    interface,
    resolve,
    run_verb,
    settle,
    values,
    verbs_of,
    wait_for,
)
from ros2_lite.messages import fill

run = run_verb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "Output a list of available services", list_services)
    verb.add_argument("-t", "--show-types", action="store_true", help="show the types, too")
    verb.add_argument("-c", "--count-services", action="store_true", help="only show their number")
    verb.add_argument("--include-hidden-services", action="store_true", help="hidden services, too")
    verb = add_verb(verbs, "type", "Output a service's type", show_type)
    verb.add_argument("service_name", help="service, for example /gate/stop")
    verb = add_verb(verbs, "call", "Call a service", call_service)
    verb.add_argument("service_name", help="service, for example /gate/stop")
    verb.add_argument("service_type", help="its type, for example std_srvs/srv/Trigger")
    verb.add_argument("values", nargs="?", default="{}", help="fields of the request as YAML")


def list_services(arguments: argparse.Namespace) -> int:
    """Print the services."""
    with graph_node() as node:
        services = settle(node, lambda: sorted(node.get_service_names_and_types()))
    shown = [
        (name, types)
        for name, types in services
        if arguments.include_hidden_services or not any(part.startswith("_") for part in name.split("/"))
    ]
    if arguments.count_services:
        print(len(shown))
        return 0
    for name, types in shown:
        print(f"{name} [{', '.join(types)}]" if arguments.show_types else name)
    return 0


def show_type(arguments: argparse.Namespace) -> int:
    """Print a service's type."""
    name = resolve(arguments.service_name)
    with graph_node() as node:
        types = wait_for(lambda: dict(node.get_service_names_and_types()).get(name), DISCOVERY_S)
    if types:
        print("\n".join(types))
    return 0 if types else 1


def call_service(arguments: argparse.Namespace) -> int:
    """Call a service and print its answer."""
    kind = interface(arguments.service_type, "srv")
    request = kind.Request()
    with graph_node() as node:
        fill(request, values(arguments.values), lambda: node.get_clock().now().to_msg())
        client = node.create_client(kind, resolve(arguments.service_name))
        if not client.wait_for_service(0.5):
            print("waiting for service to become available...", flush=True)
            while not client.wait_for_service(0.5):
                continue
        print(f"requester: making request: {request!r}\n", flush=True)
        future = client.call_async(request)
        while not wait_for(future.done, 1.0):
            continue
        print(f"response:\n{future.result()!r}\n", flush=True)
    return 0
