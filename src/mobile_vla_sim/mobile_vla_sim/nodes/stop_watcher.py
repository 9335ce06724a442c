"""Watches the gate for the expert and the trials: while it is stopped, driving is pointless."""

from __future__ import annotations

from typing import Any

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_sim.nodes.conductor import Conductor


class StopWatcher:
    """Listens to ``gate/status`` for ``node``. A stop may be left from a former run: it outlives the gate."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._status: GateStatus | None = None
        node.create_subscription(GateStatus, "gate/status", self._on_status, LATCHED)

    def wait_until_released(self, conductor: Conductor, wait_s: float) -> None:
        """Wait, for ``wait_s`` at most, until there is a gate and it is not stopped; says once what it waits for.

        Raises:
            StartError: there is no gate, or nobody called gate/resume in time.
            Stopped: the node is being closed.
        """
        topic = self._node.resolve_topic_name("gate/status")
        silent = f"nothing has arrived on '{topic}' after {wait_s:g} s; start command_gate_node"
        status = conductor.wait_until(lambda: self._status, wait_s, silent)
        if not status.stopped:
            return
        resume = f"ros2 service call {self._node.resolve_service_name('gate/resume')} std_srvs/srv/Trigger"
        self._node.get_logger().warning(f"the robot is stopped: {status.reason}; within {wait_s:g} s call: {resume}")
        still = f"the robot has stayed stopped for {wait_s:g} s: {status.reason}"
        conductor.wait_until(lambda: self._status and not self._status.stopped, wait_s, still)

    def _on_status(self, message: GateStatus) -> None:
        self._status = message
