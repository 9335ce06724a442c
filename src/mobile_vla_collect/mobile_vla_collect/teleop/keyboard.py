"""Keys of a plain terminal become motion that ends when the key is let go; without ROS and without a terminal.

A terminal tells of no release: a held key repeats, after a first pause that the user's system sets. So a key counts as
held for ``first_hold_s`` after its first press, and for ``repeat_hold_s`` after each repetition.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mobile_vla_data.action import Velocity


class Command(enum.Enum):
    """What a key asks for besides motion."""

    OPEN = "o"
    CLOSE = "c"
    FASTER = "+"
    SLOWER = "-"
    START = "\r"
    SUCCESS = "y"
    FAILURE = "n"
    DISCARD = "x"
    RERECORD = "r"
    STOP = "!"
    RESUME = "#"
    HELP = "?"


#: Key -> direction (forward, left, turn left), each -1, 0 or 1.
DIRECTIONS: dict[str, tuple[int, int, int]] = {
    **dict.fromkeys(("w", "8", "up"), (1, 0, 0)),
    **dict.fromkeys(("s", "2", "down"), (-1, 0, 0)),
    **dict.fromkeys(("a", "4", "left"), (0, 1, 0)),
    **dict.fromkeys(("d", "6", "right"), (0, -1, 0)),
    "7": (1, 1, 0),
    "9": (1, -1, 0),
    "1": (-1, 1, 0),
    "3": (-1, -1, 0),
    "q": (0, 0, 1),
    "e": (0, 0, -1),
    **dict.fromkeys((" ", "5"), (0, 0, 0)),
}

HELP = """\
  7 8 9    or w a s d, or the arrows: hold to drive, let go to stand
  4 5 6    q e: turn left, right     space: stand at once
  1 2 3    + -: faster, slower       o c: open, close the gripper
  Enter: start an episode    y: it succeeded    n: it failed    x: discard it    r: discard and start again
  !: stop the robot (gate/stop)    #: let it go again (gate/resume)    ?: this help    Ctrl-C: end"""

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}


class KeyDecoder:
    """Bytes of a terminal to names of keys; an escape sequence may come in pieces."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Names of the keys completed by ``data``: characters, or up, down, left, right. Unknown sequences vanish."""
        text, keys = self._rest + data.decode("utf-8", "ignore"), []
        self._rest = ""
        position = 0
        while position < len(text):
            if text[position] != "\x1b":
                keys.append("\r" if text[position] == "\n" else text[position].lower())
                position += 1
                continue
            end = _sequence_end(text, position)
            if end is None:
                self._rest = text[position:]
                break
            sequence = text[position:end]
            if len(sequence) == 3 and sequence[2] in _ARROWS:
                keys.append(_ARROWS[sequence[2]])
            position = end
        return keys


def _sequence_end(text: str, start: int) -> int | None:
    """Where the escape sequence at ``start`` ends, or None when more is to come."""
    if start + 1 >= len(text):
        return None
    if text[start + 1] not in "[O":
        return start + 1
    for position in range(start + 2, len(text)):
        if "@" <= text[position] <= "~":
            return position + 1
    return None


@dataclass(frozen=True)
class DriveSettings:
    """How keys drive."""

    linear_m_s: float
    angular_rad_s: float
    can_strafe: bool
    """On a base that cannot, left and right turn instead."""
    first_hold_s: float
    """How long a first press counts: longer than the pause before the keyboard repeats [s]."""
    repeat_hold_s: float
    """How long a repetition counts: longer than the time between two, network included [s]."""
    zeros_s: float
    """How long zeros are sent after release, before silence hands the robot back [s]."""


class HoldToMove:
    """Which velocity to send now, or that nothing is to be sent."""

    def __init__(self, settings: DriveSettings) -> None:
        self._settings = settings
        self.scale = 1.0
        """Of the set speeds; :meth:`change_speed` moves it between 0.1 and 2."""
        self._key = ""
        self._held_until_s = 0.0
        self._used_until_s = float("-inf")

    def press(self, key: str, now_s: float) -> None:
        """Take a key of :data:`DIRECTIONS`. Another one than before replaces it."""
        repeated = key == self._key and now_s < self._held_until_s
        self._key = key
        self._held_until_s = now_s + (self._settings.repeat_hold_s if repeated else self._settings.first_hold_s)
        self._used_until_s = self._held_until_s + self._settings.zeros_s

    def release(self, now_s: float) -> None:
        """Stand now, and fall silent after the zeros; nothing happens when nothing was sent."""
        if now_s < self._used_until_s:
            self._held_until_s = now_s
            self._used_until_s = now_s + self._settings.zeros_s

    def change_speed(self, factor: float) -> None:
        """Multiply the speeds."""
        self.scale = min(max(self.scale * factor, 0.1), 2.0)

    def velocity(self, now_s: float) -> Velocity | None:
        """The velocity to send, zeros after a release, None for silence."""
        if now_s >= self._used_until_s:
            return None
        if now_s >= self._held_until_s:
            return Velocity()
        forward, left, turn = DIRECTIONS[self._key]
        if not self._settings.can_strafe:
            left, turn = 0, turn or left
        linear = self.scale * self._settings.linear_m_s / max(1.0, (forward**2 + left**2) ** 0.5)
        return Velocity(forward * linear, left * linear, turn * self.scale * self._settings.angular_rad_s)
