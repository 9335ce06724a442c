"""Interface of the robot for the web server; the node implements it over ROS. No rclpy, no web framework."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.wording import Words, in_english
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.plan import CollectionPlan

#: Longest wait for a service [s]; committing an episode waits for the disk, a large checkpoint for minutes.
PATIENCE_S = {"recorder/stop_episode": 30.0, "policy/load_checkpoint": 600.0}
DEFAULT_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Reply:
    """Result of a request; the message is one line for a human."""

    ok: bool
    message: str
    words: Words | None = None
    """The same message for the page, if this package worded it."""

    @staticmethod
    def refusal(why: Words | str) -> Reply:
        """Return a refusal, in words of the table or as text of another package."""
        return Reply(False, in_english(why), words=why if isinstance(why, dict) else None)


class Robot(Protocol):
    """The robot as the web server sees it. Every method may be called from any thread and returns at once."""

    latest: Latest
    contract: Contract
    drivable: bool
    """True if this page may drive (teleop)."""

    def plan(self) -> CollectionPlan | None:
        """Read the collection plan: that of the dataset, or the one of the parameter. May wait for the disk.

        Raises:
            PlanError: the file is wrong.
        """

    def call(self, service: str, fields: Mapping[str, str]) -> Future[Reply]:
        """Call a service with string fields; the reply holds one line for the user."""

    def drive(self, velocity: Velocity) -> None:
        """Publish ``velocity`` for as long as it is fresh."""

    def release(self) -> None:
        """Publish one zero if the page was driving, then nothing."""

    def move_gripper(self, position: float) -> None:
        """Send the gripper to ``position``, 0 open .. 1 closed."""
