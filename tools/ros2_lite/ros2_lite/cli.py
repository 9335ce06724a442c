"""What the commands share: verbs on the command line, a node on the graph, and names of types."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import rclpy
import yaml
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ros2_lite.errors import UserError

#: Discovery takes at least this long, and is believed when nothing new came for so long.
_ANNOUNCE_S = 1.5
_SETTLED_S = 0.8
#: A first announcement can be lost on a busy machine; the next one follows 3 s later. Who sees nobody waits for it.
_ALONE_S = 3.5
#: What is asked for by name is waited for this long; a graph that keeps changing, too.
DISCOVERY_S = 6.0


def add_verb(
    verbs: Any, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Declare a verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(verb_function=function)
    # Accepted for tutorials that use them: there is no daemon here, and discovery ends by itself.
    parser.add_argument("--no-daemon", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--spin-time", help=argparse.SUPPRESS)
    return parser


def verbs_of(parser: argparse.ArgumentParser) -> Any:
    """Declare that a command has verbs."""
    return parser.add_subparsers(metavar="verb", dest="verb", required=True)


def run_verb(arguments: argparse.Namespace) -> int:
    """Run the verb that was asked for."""
    return int(arguments.verb_function(arguments))


@contextmanager
def graph_node() -> Iterator[Node]:
    """A hidden node that spins in the background. Ctrl-C stays a KeyboardInterrupt of the main thread."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"_ros2cli_{os.getpid()}", start_parameter_services=False, enable_rosout=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=1.0)
        rclpy.try_shutdown()
        thread.join(1.0)
        node.destroy_node()


def settle(node: Node, look: Callable[[], Any] | None = None) -> Any:
    """Wait until what ``look`` returns (by default the names on the graph) no longer changes, and return it."""
    look = look or (lambda: (node.get_topic_names_and_types(), node.get_node_names_and_namespaces()))
    started = changed = time.monotonic()
    seen = look()
    while (now_s := time.monotonic()) - started < DISCOVERY_S:
        least_s = _ALONE_S if len(node.get_node_names()) < 2 else _ANNOUNCE_S
        if now_s - started > least_s and now_s - changed > _SETTLED_S:
            break
        time.sleep(0.05)
        if (now := look()) != seen:
            seen, changed = now, time.monotonic()
    return seen


def wait_for(condition: Callable[[], Any], timeout_s: float) -> Any:
    """Poll a condition; returns its last value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def resolve(name: str) -> str:
    """Absolute name of a topic, service, action or node as the user typed it."""
    return name if name.startswith("/") else f"/{name}"


def interface(name: str, kind: str) -> Any:
    """Class of ``package/kind/Name`` or ``package/Name``, where kind is msg, srv or action. Raises UserError."""
    parts = name.split("/")
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind:
        raise UserError(f"'{name}' is no {kind} type; expected package/{kind}/Name")
    try:
        return getattr(import_module(f"{parts[0]}.{kind}"), parts[2])
    except (ImportError, AttributeError):
        raise UserError(f"The passed type '{name}' is invalid: no such interface is installed") from None


def values(text: str) -> dict[str, Any]:
    """Fields from YAML. Raises UserError when it is none, or no mapping."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the values are no YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"the values must be a YAML dictionary such as '{{data: hello}}', not {text!r}")
    return content


def print_names(names: list[str], only_count: bool) -> None:
    """Print names one a line, or their number."""
    if only_count:
        print(len(names))
    elif names:
        print("\n".join(names))


def full_name(name: str, namespace: str) -> str:
    """Fully qualified name of a node."""
    return f"{namespace.rstrip('/')}/{name}"


def node_names(node: Node, hidden: bool = False) -> list[str]:
    """Fully qualified names of the nodes on the graph, once discovery has settled."""
    found = settle(node, lambda: sorted(node.get_node_names_and_namespaces()))
    return [full_name(name, namespace) for name, namespace in found if hidden or not name.startswith("_")]


def require_node(node: Node, name: str) -> str:
    """Fully qualified name of a node that exists. Raises UserError."""
    wanted = resolve(name)

    def present() -> bool:
        return any(full_name(*pair) == wanted for pair in node.get_node_names_and_namespaces())

    if not wait_for(present, DISCOVERY_S):
        raise UserError(f"Node not found: {wanted}")
    return wanted


def call(node: Node, service_type: Any, name: str, request: Any, timeout_s: float = 10.0) -> Any:
    """Call a service and return its response. Raises UserError when nobody answers."""
    client = node.create_client(service_type, name)
    if not wait_for(client.service_is_ready, DISCOVERY_S):
        raise UserError(f"service {name} is not there")
    future = client.call_async(request)
    if not wait_for(future.done, timeout_s):
        raise UserError(f"service {name} did not answer within {timeout_s:g} s")
    return future.result()
