"""/diagnostics at 1 Hz for every node, without diagnostic_updater, which not every installation has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.graph import wrong_types

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Health:
    """Health of a node: a level of DiagnosticStatus, one line, and values."""

    level: bytes = OK
    message: str = "OK"
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """Publishes the result of ``health`` once a second, as long as the node lives.

    Before each call it looks for endpoints of wrong message types on the node's topics, see
    :func:`mobile_vla_ros.graph.wrong_types`. Any makes the health an error; each new one is logged. ``adapt`` is called
    before that look, once a second.
    """

    def __init__(
        self, node: Any, health: Callable[[], Health], hardware_id: str = "", adapt: Callable[[], None] | None = None
    ) -> None:
        self.wrong_types: list[str] = []
        """One line for each endpoint of a wrong type."""
        self._node = node
        self._health = health
        self._adapt = adapt
        self._hardware_id = hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady: with a simulated clock that stands still, or a system clock that is set back, it would fall silent.
        self._timer = node.create_timer(1.0, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish now; for a node that is about to be busy in a callback."""
        if self._adapt is not None:
            self._adapt()
        self._look_for_wrong_types()
        health = self._health()
        if self.wrong_types:
            health = Health(ERROR, "; ".join([*self.wrong_types, health.message]), health.values)
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

    def _look_for_wrong_types(self) -> None:
        before, self.wrong_types = self.wrong_types, wrong_types(self._node)
        for line in self.wrong_types:
            if line not in before:
                self._node.get_logger().error(line)
