"""Turn axes and buttons of a joystick into motion while the deadman button is held; without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mobile_vla_data.action import Velocity


@dataclass(frozen=True)
class JoyMap:
    """Indexes of axes and buttons; -1 means none."""

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
    """Smaller deflections count as zero (0 .. 1)."""
    buttons: dict[str, int] = field(default_factory=dict)
    """Action -> button: open, close, start, success, failure, discard, stop, resume."""


class Joystick:
    """Follows a joystick; a button acts once per press."""

    def __init__(self, joy_map: JoyMap) -> None:
        self._map = joy_map
        # A button that is held while the node starts is not a press.
        self._before: Sequence[int] | None = None

    def velocity(self, axes: Sequence[float], buttons: Sequence[int]) -> Velocity | None:
        """Return the commanded velocity; None while the deadman button is not held."""
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

    def missing(self, axes: Sequence[float], buttons: Sequence[int]) -> list[str]:
        """Return one line for each configured axis or button that the joystick does not have, deadman button first."""
        joy_map = self._map
        wanted_buttons = {"deadman": joy_map.button_deadman, "turbo": joy_map.button_turbo, **joy_map.buttons}
        wanted_axes = {"forward": joy_map.axis_forward, "left": joy_map.axis_left, "turn": joy_map.axis_turn}
        return [
            f"{kind}_{name} is {index}, this joystick has {_range(kind, count)}"
            for kind, wanted, count in (("button", wanted_buttons, len(buttons)), ("axis", wanted_axes, len(axes)))
            for name, index in wanted.items()
            if index >= count
        ]

    def has_deadman(self, buttons: Sequence[int]) -> bool:
        """Return True if the joystick has the deadman button: without it, it cannot drive."""
        return self._map.button_deadman < len(buttons)

    def pressed(self, buttons: Sequence[int]) -> list[str]:
        """Return the actions whose button was pressed since the last call."""
        before, self._before = self._before, list(buttons)
        if before is None:
            return []
        return [name for name, index in self._map.buttons.items() if _held(buttons, index) and not _held(before, index)]

    def _deflection(self, axes: Sequence[float], index: int) -> float:
        value = axes[index] if 0 <= index < len(axes) else 0.0
        return value if abs(value) >= self._map.deadzone else 0.0


def _held(buttons: Sequence[int], index: int) -> bool:
    return 0 <= index < len(buttons) and bool(buttons[index])


def _range(kind: str, count: int) -> str:
    plural = {"button": "buttons", "axis": "axes"}[kind]
    return f"{plural} 0-{count - 1}" if count else f"no {plural}"
