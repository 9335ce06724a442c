"""/diagnostics at 1 Hz for every node, without diagnostic_updater (which not every installation has)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mobile_vla_ros.clock import STEADY

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Health:
    """How a node is: a level of DiagnosticStatus, one line, and values to look at."""

    level: bytes = OK
    message: str = "OK"
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """Publishes what ``health`` returns, once a second, as long as the node lives."""

    def __init__(self, node: Any, health: Callable[[], Health], hardware_id: str = "") -> None:
        self._node, self._health, self._hardware_id = node, health, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady: with a simulated clock that stands, or a system clock that was set back, it would fall silent.
        self._timer = node.create_timer(1.0, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish now; for a node that is about to be busy in a callback."""
        health = self._health()
        status = DiagnosticStatus(
            level=health.level,
            name=self._node.get_fully_qualified_name().lstrip("/"),
            message=health.message,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in health.values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
