"""The speeds of keyboard and joystick: those of the parameters, never above the contract's limits."""

from __future__ import annotations

from typing import Any

from mobile_vla_data.contract import Limits
from mobile_vla_ros.parameters import number


def speeds(node: Any, limits: Limits, while_: str) -> tuple[float, float]:
    """Declare and read ``linear_m_s`` [m/s] and ``angular_rad_s`` [rad/s]; ``while_`` says when they count.

    A value above the contract's limit becomes the limit, with a line in the log: the gate would clamp it, too. Raises
    :class:`StartError` for a value that is no speed.
    """
    wanted = {
        "linear_m_s": number(node, "linear_m_s", 0.4, f"speed {while_} [m/s]", above=0),
        "angular_rad_s": number(node, "angular_rad_s", 0.8, f"turn rate {while_} [rad/s]", above=0),
    }
    allowed = {name: min(speed, getattr(limits, name)) for name, speed in wanted.items()}
    for name, speed in wanted.items():
        if speed > allowed[name]:
            node.get_logger().warning(f"{name} is {speed:g}; the contract allows {allowed[name]:g}, which is used")
    return allowed["linear_m_s"], allowed["angular_rad_s"]
