"""Axes and buttons become motion while the deadman button is held; without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mobile_vla_data.action import Velocity


@dataclass(frozen=True)
class JoyMap:
    """Which axis and button does what; an index of -1 means none."""

    axis_forward: int
    axis_left: int
    axis_turn: int
    button_deadman: int
    button_turbo: int
    linear_m_s: float
    angular_rad_s: float
    turbo: float
    """Factor on the speeds while the turbo button is held."""
    deadzone: float
    """Deflections below this are none (0 .. 1)."""
    buttons: dict[str, int] = field(default_factory=dict)
    """Action -> button: open, close, start, success, failure, discard, stop, resume."""


class Joystick:
    """Remembers what was held, so that a button acts once per press."""

    def __init__(self, joy_map: JoyMap) -> None:
        self._map = joy_map
        # A button that is held while the node starts is not a press.
        self._before: Sequence[int] | None = None

    def velocity(self, axes: Sequence[float], buttons: Sequence[int]) -> Velocity | None:
        """The velocity asked for, or None while the deadman button is not held."""
        joy_map = self._map
        if not _held(buttons, joy_map.button_deadman):
            return None
        factor = joy_map.turbo if _held(buttons, joy_map.button_turbo) else 1.0
        linear, angular = factor * joy_map.linear_m_s, factor * joy_map.angular_rad_s
        return Velocity(
            linear * self._deflection(axes, joy_map.axis_forward),
            linear * self._deflection(axes, joy_map.axis_left),
            angular * self._deflection(axes, joy_map.axis_turn),
        )

    def pressed(self, buttons: Sequence[int]) -> list[str]:
        """Actions whose button went down since the last call."""
        before, self._before = self._before, list(buttons)
        if before is None:
            return []
        return [name for name, index in self._map.buttons.items() if _held(buttons, index) and not _held(before, index)]

    def _deflection(self, axes: Sequence[float], index: int) -> float:
        value = axes[index] if 0 <= index < len(axes) else 0.0
        return value if abs(value) >= self._map.deadzone else 0.0


def _held(buttons: Sequence[int], index: int) -> bool:
    return 0 <= index < len(buttons) and bool(buttons[index])
