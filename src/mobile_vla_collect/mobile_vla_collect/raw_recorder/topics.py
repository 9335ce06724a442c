"""Topics of a raw recording: those of the contract and of the nodes around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from mobile_vla_data.contract import STATIC_TRANSFORMS, TRANSFORMS, Contract
from mobile_vla_ros.qos import EVERY_COMMAND, EVERY_STATUS

STATUS, TICK = "recorder/status", "recorder/tick"
#: Nothing is sent again: a recording must not slow the robot's drivers down.
_SENSOR = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
_COMMANDS = tuple(
    f"{topic}{source}" for topic in ("cmd_vel", "gripper/command") for source in ("", "_teleop", "_policy")
)
_LATCHED = (STATUS, "gate/status", "policy/status", STATIC_TRANSFORMS)
_OTHERS = ("policy/action_chunk", TRANSFORMS, "/diagnostics")


@dataclass(frozen=True)
class WantedTopic:
    """A topic to record."""

    name: str
    """As the contract or the node says it."""
    qos: Any
    latched: bool = False
    """True if its newest message belongs into every file, however old it is."""


def wanted_topics(contract: Contract, *, compressed: bool, extra: tuple[str, ...]) -> list[WantedTopic]:
    """Return the topics of a robot; with ``compressed`` the JPEGs of its cameras instead of the raw images."""
    names: list[str] = []
    for camera in contract.cameras.values():
        names.append(f"{camera.topic}/compressed" if compressed else camera.topic)
        names.append("/".join([*camera.topic.split("/")[:-1], "camera_info"]))
    names.append(contract.state.odometry_topic)
    if contract.has_gripper:
        names.append(contract.state.gripper_topic)
    names += [sensor.topic for sensor in (contract.obstacles.sensors if contract.obstacles else ())]
    found = [WantedTopic(name, _SENSOR) for name in dict.fromkeys([*names, *_OTHERS, *extra])]
    found += [WantedTopic(name, EVERY_COMMAND) for name in (*_COMMANDS, TICK)]
    return found + [WantedTopic(name, EVERY_STATUS, latched=True) for name in _LATCHED]
