"""For tests of nodes: real processes on a DDS domain of their own, and waiting on conditions instead of on time."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import rclpy
import yaml
from ament_index_python.packages import get_package_prefix
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import COMMAND

#: Domain ids for tests. Up to 101 the DDS ports stay below Linux' ephemeral ports; people mostly use low ids.
_DOMAINS = range(60, 102)


@contextmanager
def unique_domain() -> Iterator[int]:
    """Hold a domain id that no other test process on this machine holds, and put it into the environment.

    So is a folder for state: a stop that a launched gate remembers is nothing to other tests, nor to the user's robot.
    """
    for domain_id in _DOMAINS:
        # A name in the kernel, not a file: it reaches exactly as far as DDS does on this machine, whatever TMPDIR says,
        # and is gone with its process.
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0mobile_vla_test_domain_{domain_id}")
        except OSError:
            claim.close()
            continue
        if _heard_from(domain_id):
            # Somebody's robot or simulation, started by hand.
            claim.close()
            continue
        state = tempfile.TemporaryDirectory(prefix="mobile_vla_test_")
        here = {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "XDG_STATE_HOME": state.name,
        }
        before = {name: os.environ.get(name) for name in here}
        os.environ.update(here)
        try:
            yield domain_id
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            claim.close()
            state.cleanup()
        return
    raise RuntimeError(f"all {len(_DOMAINS)} test domains are in use; wait for other tests to end")


def _heard_from(domain_id: int) -> bool:
    """Whether a participant holds the first discovery port of the domain (RTPS 2.2, 9.6.1.1: 7400 + 250 d + 10)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain_id + 10))
        except OSError:
            return True
    return False


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Poll until ``condition()`` is true and return it; raises TimeoutError naming ``what`` otherwise.

    The limit is for what never comes; a busy machine may well take seconds for what takes milliseconds on an idle one.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what or condition}")
        time.sleep(0.005)
    return result


class NodeProcess:
    """One node in a process of its own, as a launch file would start it."""

    def __init__(
        self,
        package: str,
        executable: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        remap: Mapping[str, str] | None = None,
        namespace: str = "",
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        command: Sequence[str] = (),
    ) -> None:
        """``command`` is run instead of an installed executable; ``--ros-args`` and the rest are put behind it.

        Its folder for state is its own: a gate remembers there that it was stopped. Name one as ``XDG_STATE_HOME`` in
        ``env`` for a process that is to find what another has left.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="mobile_vla_test_")
        file = Path(self._folder.name, "parameters.yaml")
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(parameters or {})}}))
        command = list(command) or [str(Path(get_package_prefix(package), "lib", package, executable))]
        command += ["--ros-args"]
        if parameters:
            command += ["--params-file", str(file)]
        for source, target in (remap or {}).items():
            command += ["-r", f"{source}:={target}"]
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "PYTHONFAULTHANDLER": "1",
                "RCUTILS_LOGGING_USE_STDOUT": "0",
                "XDG_STATE_HOME": self._folder.name,
                **(env or {}),
            },
        )
        # A test that fails before it stops its node must not leave it behind in the domain of the next one.
        atexit.register(self.process.kill)
        self._lines: list[str] = []
        # Reading all the time, or a talkative node would block on a full pipe.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        """Everything written to stdout and stderr so far."""
        return "".join(self._lines)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 30.0) -> int:
        """Send a signal if it still runs, wait for the end, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for the process to end by itself and return the exit status; kills it and raises on timeout.

        The error has what the process said, and the stacks of its threads.
        """
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
            self.process.kill()
            self.process.wait()
            self._reader.join(2.0)
            raise TimeoutError(f"process did not end within {timeout_s} s; it said:\n{self.output}") from None
        self._reader.join(2.0)
        self._folder.cleanup()
        return status

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Probe:
    """A node inside the test: publishes, collects what arrives, calls services. Spins on a thread of its own."""

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
            # The test destroys entities on its own thread, and what is just being waited for may be among them.
            with contextlib.suppress(InvalidHandle):
                self._executor.spin_once(timeout_sec=0.05)

    def now_ns(self) -> int:
        """Time of the node's clock [ns]."""
        return int(self.node.get_clock().now().nanoseconds)

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 100) -> list[Any]:
        """Subscribe, and return the list into which every message goes as it arrives."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def publisher(self, message_type: type, topic: str, qos: QoSProfile | int = COMMAND, subscribers: int = 1) -> Any:
        """Create a publisher and wait until ``subscribers`` have matched, so that nothing sent is lost."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        wait_for(lambda: publisher.get_subscription_count() >= subscribers, what=f"a subscriber of {topic}")
        return publisher

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
    """What arrives on a TwistStamped topic, timed by the sender's stamps: a listener that wakes late does no harm."""

    def __init__(self, probe: Probe, topic: str) -> None:
        self.heard: list[TwistStamped] = probe.collect(TwistStamped, topic)

    @property
    def moving(self) -> bool:
        """Whether the newest one is not zero."""
        return bool(self.heard) and self.heard[-1].twist != Twist()

    @property
    def still(self) -> bool:
        """Whether the newest one is zero."""
        return bool(self.heard) and self.heard[-1].twist == Twist()

    def last_motion_ns(self) -> int:
        """When the last one that is not zero was sent."""
        return max(to_ns(message.header.stamp) for message in self.heard if message.twist != Twist())

    def intervals_s(self) -> list[float]:
        """Between one and the next [s]."""
        stamps = [to_ns(message.header.stamp) for message in self.heard]
        return [(after - before) * 1e-9 for before, after in pairwise(stamps)]

    def two_ticks_s(self, stamp_ns: int) -> float | None:
        """From the last but two to the last one that was sent until then [s]; None if fewer have been heard."""
        wait_for(lambda: self.heard and to_ns(self.heard[-1].header.stamp) > stamp_ns)
        before = [ns for message in self.heard if (ns := to_ns(message.header.stamp)) <= stamp_ns]
        return (before[-1] - before[-3]) * 1e-9 if len(before) > 2 else None


def require_timeouts(statuses: Sequence[GateStatus], velocities: StampedVelocities, policy_timeout_s: float) -> None:
    """Assert that the gate has stopped a silent policy at its time limit, every time it did, by its own clock and tick.

    ``statuses`` are every ``gate/status`` and ``velocities`` every ``cmd_vel`` since the policy began to drive. The
    gate looks once a tick, and a busy machine makes a tick late. How late is told by the stamps: it looked after it had
    sent the last but two, and did not find the policy silent yet.
    """
    stops = [after for before, after in pairwise(statuses) if after.timeouts > before.timeouts]
    judged = [(stop, ticks_s) for stop in stops if (ticks_s := velocities.two_ticks_s(to_ns(stop.header.stamp)))]
    assert judged, "the gate has seen no policy fall silent"
    for stop, ticks_s in judged:
        assert policy_timeout_s < stop.policy_age_s < policy_timeout_s + ticks_s + 0.005, (ticks_s, stop)
