"""``ros2 service``: list, call."""

from __future__ import annotations

from typing import Annotated

import typer
from rclpy.node import Node

from ros2_lite.graph import fields, graph_node, interface, print_names, resolve, wait_for
from ros2_lite.messages import fill

verbs = typer.Typer(help="list, call", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.add_typer(verbs, name="service")


@verbs.command("list")
def list_services(show_types: Annotated[bool, typer.Option("-t", "--show-types")] = False) -> None:
    """Print the services."""
    print_names(Node.get_service_names_and_types, show_types)


@verbs.command()
def call(
    service_name: str,
    service_type: Annotated[str, typer.Argument(help="for example std_srvs/srv/Trigger")],
    values: Annotated[str, typer.Argument(help="fields of the request as YAML")] = "{}",
) -> None:
    """Wait for a service, call it, and print its answer."""
    kind = interface(service_type, "srv")
    request = kind.Request()
    fill(request, fields(values))
    with graph_node() as node:
        client = node.create_client(kind, resolve(service_name))
        if not client.wait_for_service(0.5):
            print("waiting for service to become available...", flush=True)
            wait_for(client.service_is_ready)
        print(f"requester: making request: {request!r}\n", flush=True)
        future = client.call_async(request)
        wait_for(future.done)
        print(f"response:\n{future.result()!r}\n", flush=True)
