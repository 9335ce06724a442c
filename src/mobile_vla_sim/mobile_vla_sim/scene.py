"""A scene: everything about one run that a seed decides. Same seed and task, same scene, on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np

from mobile_vla_sim.flat import OBJECT_SPOTS, OBJECTS, ROBOT_RADIUS_M, ROOMS, is_free, room_at
from mobile_vla_sim.planner import Planner
from mobile_vla_sim.tasks import DEFAULT_TASKS, Task, task_named

LIGHTINGS = ("day", "night", "artificial")

MIN_PATH_M, MAX_PATH_M = 2.4, 4.9
"""Path lengths that the expert drives in 50 to 100 steps of 0.1 s, the stop at the goal included."""
START_CLEARANCE_M = ROBOT_RADIUS_M + 0.06


class Stream(IntEnum):
    """What a scene is for. The stream is part of the scene's seed: no trial can start from a collected scene."""

    MANUAL = 0
    COLLECTION = 1
    LIVE_COLLECTION = 2
    EVALUATION = 3


def scene_seed(stream: Stream, seed: int, index: int) -> int:
    """The seed of scene ``index`` in the series ``seed`` of a stream, distinct for distinct arguments; fits int64.

    Raises:
        ValueError: ``seed`` is not in 0 .. 2^28 - 1 or ``index`` not in 0 .. 2^28 - 1.
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 1 << 28:
            raise ValueError(f"{name} {value} is outside 0 .. {(1 << 28) - 1}")
    return int(stream) << 56 | seed << 28 | index


@dataclass(frozen=True)
class Scene:
    """One reproducible start."""

    seed: int
    task: Task
    language: str
    lighting: str
    start: tuple[float, float, float]
    """Robot x [m], y [m], yaw [rad]."""
    start_room: str
    object_spots: tuple[int, ...]
    """For each of ``flat.OBJECTS`` the index of its place in ``flat.OBJECT_SPOTS``."""
    tint: tuple[float, float, float]
    """Factors on red, green and blue of all light."""

    def environment(self) -> dict[str, object]:
        """What episodes keep about the scene, as JSON values."""
        return {
            "room": self.task.room.name,
            "start_room": self.start_room,
            "lighting": self.lighting,
            "scene_seed": self.seed,
            "start": [round(value, 4) for value in self.start],
        }


@cache
def planner_for(task: Task) -> Planner:
    """The planner to a task's goal, made once."""
    return Planner(task.room.goal)


def make_scene(seed: int, task: str = "", *, tasks: Sequence[str] = DEFAULT_TASKS, random_yaw: bool = False) -> Scene:
    """Draw the scene of ``seed``; the task is ``task``, or drawn from ``tasks`` when that is empty.

    ``random_yaw`` is for a differential base; a holonomic base keeps yaw 0.

    Raises:
        UnknownTaskError: the task is not in the catalogue.
    """
    random = np.random.default_rng(seed % (1 << 64))
    drawn = str(random.choice(list(tasks)))
    chosen = task_named(task or drawn)
    language = str(random.choice(chosen.instructions))
    lighting = str(random.choice(LIGHTINGS))
    tint = tuple(float(value) for value in random.uniform(0.94, 1.06, size=3))
    spots = tuple(int(spot) for spot in random.permutation(len(OBJECT_SPOTS))[: len(OBJECTS)])
    yaw = float(random.uniform(-np.pi, np.pi)) if random_yaw else 0.0
    start_room = str(random.choice([name for name in ROOMS if name != chosen.room.name]))
    x, y = _start(random, chosen, start_room)
    return Scene(seed, chosen, language, lighting, (x, y, yaw), start_room, spots, tint)  # type: ignore[arg-type]


def _start(random: np.random.Generator, task: Task, room: str) -> tuple[float, float]:
    area, planner = ROOMS[room].area, planner_for(task)
    while True:
        x, y = float(random.uniform(area.x0, area.x1)), float(random.uniform(area.y0, area.y1))
        if room_at(x, y) != room or not is_free(x, y, START_CLEARANCE_M):
            continue
        if MIN_PATH_M <= planner.length(x, y) <= MAX_PATH_M:
            return x, y
