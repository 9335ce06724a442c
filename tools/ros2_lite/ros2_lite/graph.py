"""Shared by the commands: a node on the graph, waiting for discovery, services, names of types."""

from __future__ import annotations

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

#: Discovery takes at least the first time [s] and is complete when nothing new came for the second.
_ANNOUNCE_S, _SETTLED_S = 1.5, 0.8
#: A busy machine can lose a first announcement; the next follows 3 s later. An empty graph is waited for that long.
_ALONE_S = 3.5
#: Time limit for what is asked for by name, and for a graph that keeps changing.
DISCOVERY_S = 6.0


@contextmanager
def graph_node() -> Iterator[Node]:
    """Yield a hidden node that spins in the background. Ctrl-C stays a KeyboardInterrupt of the main thread."""
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


def settled(node: Node, look: Callable[[], Any]) -> Any:
    """Wait until the result of ``look`` no longer changes, and return it."""
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


def wait_for(condition: Callable[[], Any], timeout_s: float = float("inf")) -> Any:
    """Poll a condition and return its last value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def print_names(look: Callable[[Node], list[tuple[str, list[str]]]], show_types: bool) -> None:
    """Print what ``look`` finds on the settled graph, one name a line, without hidden ones."""
    with graph_node() as node:
        found = settled(node, lambda: sorted(look(node)))
    for name, types in found:
        if not any(part.startswith("_") for part in name.split("/")):
            print(f"{name} [{', '.join(types)}]" if show_types else name)


def resolve(name: str) -> str:
    """Return the absolute name of a topic, service or node as the user typed it."""
    return name if name.startswith("/") else f"/{name}"


def full_name(name: str, namespace: str) -> str:
    """Return the fully qualified name of a node."""
    return f"{namespace.rstrip('/')}/{name}"


def require_node(node: Node, name: str) -> str:
    """Wait for a node and return its fully qualified name. Raises UserError."""
    wanted = resolve(name)
    if not wait_for(lambda: wanted in [full_name(*pair) for pair in node.get_node_names_and_namespaces()], DISCOVERY_S):
        raise UserError(f"Node not found: {wanted}")
    return wanted


def interface(name: str, kind: str) -> Any:
    """Return the class of ``package/kind/Name`` or ``package/Name``; ``kind`` is msg or srv. Raises UserError."""
    parts = name.split("/")
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind:
        raise UserError(f"'{name}' is not a {kind} type; expected package/{kind}/Name")
    try:
        return getattr(import_module(f"{parts[0]}.{kind}"), parts[2])
    except (ImportError, AttributeError):
        raise UserError(f"'{name}' is not installed") from None


def fields(text: str) -> dict[str, Any]:
    """Read the fields of a message from YAML. Raises UserError unless it is a dictionary."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the values are not YAML: {' '.join(str(error).split())}") from None
    if content is not None and not isinstance(content, dict):
        raise UserError(f"the values must be a YAML dictionary such as '{{data: hello}}', not {text!r}")
    return content or {}


def call(node: Node, service_type: Any, name: str, request: Any, timeout_s: float = 10.0) -> Any:
    """Call a service and return its response. Raises UserError when there is none, or no answer in time."""
    client = node.create_client(service_type, name)
    if not wait_for(client.service_is_ready, DISCOVERY_S):
        raise UserError(f"service {name} does not exist")
    future = client.call_async(request)
    if not wait_for(future.done, timeout_s):
        raise UserError(f"service {name} did not answer within {timeout_s:g} s")
    return future.result()
