"""A node inside the test, and what it receives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile

from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.testing.waiting import wait_for


class Probe:
    """A node inside the test: publishes, collects messages, calls services. Spins on its own thread."""

    def __init__(self, name: str = "probe") -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._running = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self._running:
            # The test destroys entities on another thread, perhaps one that is being waited for.
            with contextlib.suppress(InvalidHandle):
                self._executor.spin_once(timeout_sec=0.05)

    def between_callbacks(self, function: Callable[[], Any]) -> Any:
        """Run ``function`` on the probe's thread: there an action client is destroyed safely."""
        task = self._executor.create_task(function)
        wait_for(task.done, what="the probe's thread")
        return task.result()

    def now_ns(self) -> int:
        """Return the time of the node's clock [ns]."""
        return now_ns(self.node)

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 100) -> list[Any]:
        """Subscribe, and return the list to which every message is appended as it arrives."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def publisher(self, message_type: type, topic: str, qos: QoSProfile | int = COMMAND, subscribers: int = 1) -> Any:
        """Create a publisher and wait until ``subscribers`` have matched, so that no message is lost."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        wait_for(lambda: publisher.get_subscription_count() >= subscribers, what=f"a subscriber of {topic}")
        return publisher

    def subscribes(self, node: str, topic: str) -> bool:
        """Return whether a node of this name subscribes to the topic, as far as the probe has discovered."""
        return node in [info.node_name for info in self.node.get_subscriptions_info_by_topic(topic)]

    def call(self, service_type: type, name: str, request: Any = None, timeout_s: float = 30.0) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(service_type, name)
        try:
            wait_for(client.service_is_ready, timeout_s, f"service {name}")
            future = client.call_async(request if request is not None else service_type.Request())
            wait_for(future.done, timeout_s, f"an answer of service {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def parameters(self, node: str, *names: str, timeout_s: float = 60.0) -> list[Any]:
        """Return the values of a node's parameters.

        Asks again where no answer comes: a node that starts may reply before it has discovered who asked.
        """
        request, deadline = GetParameters.Request(names=names), time.monotonic() + timeout_s
        while True:
            try:
                answer = self.call(GetParameters, f"{node}/get_parameters", request, 10.0)
                return [parameter_value_to_python(value) for value in answer.values]
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        """Stop spinning and leave the graph."""
        self._running = False
        self._thread.join(2.0)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StampedVelocities:
    """Messages of a TwistStamped topic, timed by the sender's stamps: a late listener does not matter."""

    def __init__(self, probe: Probe, topic: str) -> None:
        self.heard: list[TwistStamped] = probe.collect(TwistStamped, topic)

    @property
    def moving(self) -> bool:
        """True if the newest one is not zero."""
        return bool(self.heard) and self.heard[-1].twist != Twist()

    @property
    def still(self) -> bool:
        """True if the newest one is zero."""
        return bool(self.heard) and self.heard[-1].twist == Twist()

    def last_motion_ns(self) -> int:
        """Return the stamp of the last one that is not zero [ns]."""
        return max(to_ns(message.header.stamp) for message in self.heard if message.twist != Twist())

    def intervals_s(self) -> list[float]:
        """Return the times between successive messages [s]."""
        stamps = [to_ns(message.header.stamp) for message in self.heard]
        return [(after - before) * 1e-9 for before, after in pairwise(stamps)]

    def two_ticks_s(self, stamp_ns: int) -> float | None:
        """Return the time from the last but two to the last one sent by ``stamp_ns`` [s]; None for fewer."""
        wait_for(lambda: self.heard and to_ns(self.heard[-1].header.stamp) > stamp_ns)
        before = [ns for message in self.heard if (ns := to_ns(message.header.stamp)) <= stamp_ns]
        return (before[-1] - before[-3]) * 1e-9 if len(before) > 2 else None
