"""Who drives, by what the gate says: a policy has to notice that a human took over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.qos import EVERY_STATUS


class GateWatch:
    """Hears ``gate/status``; calls ``handed_back`` when a human who drove does so no longer."""

    def __init__(self, node: Any, handed_back: Callable[[], None]) -> None:
        self._handed_back = handed_back
        self._driver: int | None = None
        # Every one: a hand-back that was missed would bring back what was decided before it.
        node.create_subscription(GateStatus, "gate/status", self._on_status, EVERY_STATUS)

    @property
    def human_drives(self) -> bool:
        """Whether a human has taken over; False where no gate has spoken."""
        return self._driver == GateStatus.DRIVER_TELEOP

    @property
    def nobody_drives(self) -> bool:
        """Whether the gate sends zeros in nobody's name; False where no gate has spoken."""
        return self._driver in (GateStatus.DRIVER_NONE, GateStatus.DRIVER_STOPPED)

    def _on_status(self, status: GateStatus) -> None:
        human_drove, self._driver = self.human_drives, int(status.driver)
        if human_drove and not self.human_drives:
            self._handed_back()
