"""The task catalogue: names, categories, paraphrased instructions, and when a task is done."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_vla_sim.flat import ROOMS, Room

HOLD_S = 1.0
"""How long the robot must stay in the goal region [s]."""
STANDSTILL_M_S = 0.2
"""Commanded speed below which the robot counts as stopping: a robot that only passes through does not succeed [m/s]."""

_PARAPHRASES = (
    "go to the {room}",
    "drive to the {room}",
    "head over to the {room}",
    "move into the {room}",
    "please go to the {room}",
    "find your way to the {room}",
    "I need you in the {room}",
    "make your way to the {room}",
)


@dataclass(frozen=True)
class Task:
    """One entry of the catalogue."""

    name: str
    category: str
    room: Room
    instructions: tuple[str, ...]

    def reached(self, x: float, y: float) -> bool:
        """Whether a robot at (x, y) [m] stands in the goal region."""
        return self.room.goal_region.contains(x, y)


def _go_to(room: Room) -> Task:
    words = room.name.replace("_", " ")
    return Task(f"go_to_{room.name}", "navigation", room, tuple(text.format(room=words) for text in _PARAPHRASES))


TASKS: dict[str, Task] = {task.name: task for task in map(_go_to, ROOMS.values())}

#: What collection and trials draw from unless told otherwise: the navigation tasks of the collection plan.
DEFAULT_TASKS: tuple[str, ...] = ("go_to_kitchen", "go_to_living_room", "go_to_bedroom")


class UnknownTaskError(ValueError):
    """A task that is not in the catalogue; one line naming it and the ones that are."""


def task_named(name: str) -> Task:
    """The task called ``name``. Raises :class:`UnknownTaskError`."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTaskError(f"unknown task '{name}'; the catalogue has {', '.join(TASKS)}") from None


class SuccessTest:
    """Watches one run: done once the robot has stayed in the goal region for :data:`HOLD_S` and is told to stop.

    The commanded speed counts, not the measured one: a robot that blindly pushes against a wall of the right room
    has not arrived.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._inside_since_s: float | None = None

    def update(self, time_s: float, x: float, y: float, commanded_speed_m_s: float) -> bool:
        """Take the state at ``time_s`` and return whether the test holds now."""
        if not self.task.reached(x, y):
            self._inside_since_s = None
            return False
        if self._inside_since_s is None:
            self._inside_since_s = time_s
        # Half a physics step of slack: times are sums of floats.
        return time_s - self._inside_since_s >= HOLD_S - 0.005 and commanded_speed_m_s < STANDSTILL_M_S
