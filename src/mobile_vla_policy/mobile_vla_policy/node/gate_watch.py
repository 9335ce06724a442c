"""The driver according to the gate: a policy has to notice when an operator takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.qos import EVERY_STATUS

_TOPIC = "gate/status"


class GateWatch:
    """Listens to ``gate/status``; calls ``handed_back`` when an operator stops driving."""

    def __init__(self, node: Any, handed_back: Callable[[], None]) -> None:
        self._node, self._handed_back = node, handed_back
        self._driver: int | None = None
        # Every message: after a missed hand-back, old decisions would be used again.
        node.create_subscription(GateStatus, _TOPIC, self._on_status, EVERY_STATUS)

    @property
    def operator_drives(self) -> bool:
        """True while an operator drives; False without a gate."""
        return self._driver == GateStatus.DRIVER_TELEOP

    @property
    def nobody_drives(self) -> bool:
        """True while the gate sends zeros without a driver, or has not been heard yet; False without a gate."""
        if self._driver is None:
            return bool(self._node.count_publishers(_TOPIC))
        return self._driver in (GateStatus.DRIVER_NONE, GateStatus.DRIVER_STOPPED)

    def _on_status(self, status: GateStatus) -> None:
        operator_drove, self._driver = self.operator_drives, int(status.driver)
        if operator_drove and not self.operator_drives:
            self._handed_back()
