"""Turn keys of a plain terminal into motion that ends when the key is released; without ROS and without a terminal.

Terminals do not report key releases. A held key repeats after a delay that the user's system sets. So a key counts as
held for ``first_hold_s`` after its first press, and for ``repeat_hold_s`` after each repetition. Where the keyboard is
slower than that, motion stutters once; both times are then raised to what the keyboard needs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mobile_vla_data.action import Velocity


class Command(enum.Enum):
    """Keys for everything but motion."""

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
  7 8 9    or w a s d, or the arrows: hold to drive, release to stand still
  4 5 6    q e: turn left, right     space: stand still at once
  1 2 3    + -: faster, slower       o c: open, close the gripper
  Enter: start an episode    y: save as success    n: save as failure    x: discard    r: discard and start again
  !: stop the robot (gate/stop)    #: resume (gate/resume)    ?: this help    Ctrl-C: end"""

#: The longest delay before the first repetition that desktops offer is about this long [s].
_LONGEST_DELAY_S = 1.5
#: A learned time is longer than the measured one by this factor: the network delays keys.
_MARGIN = 1.2

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}


class KeyDecoder:
    """Turns bytes of a terminal into names of keys; an escape sequence may come in pieces."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that ``data`` completes: characters, or up, down, left, right. Others are ignored."""
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
    """Return the end of the escape sequence at ``start``; None if it is not complete."""
    if start + 1 >= len(text):
        return None
    if text[start + 1] not in "[O":
        return start + 1
    for position in range(start + 2, len(text)):
        if "@" <= text[position] <= "~":
            return position + 1
    return None


@dataclass(frozen=True)
class KeySettings:
    """Speeds and times of driving by keys."""

    linear_m_s: float
    angular_rad_s: float
    can_strafe: bool
    """If False, left and right turn instead."""
    first_hold_s: float
    """Time that a first press counts: longer than the keyboard's delay before it repeats [s]."""
    repeat_hold_s: float
    """Time that a repetition counts: longer than the time between two, including the network's delay [s]."""
    zeros_s: float
    """Time that zeros are sent after release, before silence hands the robot back [s]."""


class HoldToMove:
    """Decides which velocity to send now, if any."""

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings
        self.scale = 1.0
        """Factor on the speeds; :meth:`change_speed` moves it between 0.1 and 2."""
        self.first_hold_s = settings.first_hold_s
        """Time that a first press counts now [s]; longer than the setting if the keyboard turned out to be slower."""
        self._key = ""
        self._pressed_s = float("-inf")
        self._gaps_s: list[float] = []
        """Times between the presses of this key since the first one."""
        self._held_until_s = float("-inf")
        self._used_until_s = float("-inf")

    def press(self, key: str, now_s: float) -> None:
        """Take a key of :data:`DIRECTIONS`. It replaces another one."""
        gap_s = now_s - self._pressed_s
        repeated = key == self._key and gap_s <= max(_LONGEST_DELAY_S, self.first_hold_s)
        if repeated and len(self._gaps_s) == 1:
            self._learn(self._gaps_s[0], gap_s)
        self._gaps_s = [*self._gaps_s, gap_s] if repeated else []
        self._key, self._pressed_s = key, now_s
        self._held_until_s = now_s + self._hold_s()
        self._used_until_s = self._held_until_s + self._settings.zeros_s

    def release(self, now_s: float) -> None:
        """Stand still now, and send nothing after the zeros; does nothing if nothing was sent."""
        if now_s < self._used_until_s:
            self._held_until_s = now_s
            self._used_until_s = now_s + self._settings.zeros_s

    def change_speed(self, factor: float) -> None:
        """Multiply the speeds."""
        self.scale = min(max(self.scale * factor, 0.1), 2.0)

    def velocity(self, now_s: float) -> Velocity | None:
        """Return the velocity to send, zeros after a release, None for silence."""
        if now_s >= self._used_until_s:
            return None
        if now_s >= self._held_until_s:
            return Velocity()
        forward, left, turn = DIRECTIONS[self._key]
        if not self._settings.can_strafe:
            left, turn = 0, turn or left
        linear = self.scale * self._settings.linear_m_s / max(1.0, (forward**2 + left**2) ** 0.5)
        return Velocity(forward * linear, left * linear, turn * self.scale * self._settings.angular_rad_s)

    def _learn(self, delay_s: float, interval_s: float) -> None:
        """Raise ``first_hold_s`` to a longer delay, if the interval after it is that of a keyboard, not of a hand."""
        if self.first_hold_s < delay_s and interval_s < 0.5 * delay_s:
            self.first_hold_s = _MARGIN * delay_s

    def _hold_s(self) -> float:
        if not self._gaps_s or self._gaps_s[-1] > self.first_hold_s:
            return self.first_hold_s
        if len(self._gaps_s) == 1:
            return self._settings.repeat_hold_s
        return max(self._settings.repeat_hold_s, min(_MARGIN * self._gaps_s[-1], self.first_hold_s))
