"""Draws scenes in which given tasks can be demonstrated, and their assignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_sim.tasks.catalogue import instructions, task_named
from mobile_vla_sim.tasks.goal import Aim, Goal, Task
from mobile_vla_sim.world.access import Point
from mobile_vla_sim.world.planner import Planner, UnreachableError
from mobile_vla_sim.world.plans import HALF_SIZE_M
from mobile_vla_sim.world.scene import START_CLEARANCE_M, Needs, Scene, draw_base, families_of, is_free

MIN_PATH_M = 1.3
MAX_PATH_M = {Aim.ROOM: 4.6, Aim.APPROACH: 4.6, Aim.GRASP: 4.2, Aim.PLACE: 4.2, Aim.OPEN: 3.4, Aim.CLOSE: 3.4}
"""Path lengths that the expert drives, including its act at the end, in 50 to 100 steps of 0.1 s."""
_STARTS = 40
_SCENES = 2000


class DrawError(RuntimeError):
    """No scene fits the tasks."""


@dataclass(frozen=True)
class Assignment:
    """One task in one scene, for an episode to demonstrate or a trial to request."""

    scene: Scene
    task: Task
    goal: Goal
    category: str
    language: str
    alternatives: tuple[str, ...]
    """Other wordings of the same instruction."""
    place: int
    """Index among the assignments drawn for one scene, from 0."""
    stand: Point
    """Place where the expert stops to act."""
    path_m: float
    """Length of the shortest path there from the start [m]."""

    def environment(self) -> dict[str, object]:
        """Return the scene's values for the environment of an episode, as JSON values."""
        scene = self.scene
        return {
            **self.goal.environment,
            "start_room": scene.start_room,
            "lighting": scene.lighting,
            "plan_family": scene.plan.family,
            "scene_seed": scene.seed,
            "scene_place": self.place,
            "simulated": True,
            "start": [round(value, 4) for value in scene.start],
        }


def draw(
    seed: int,
    tasks: Sequence[str],
    plan: CollectionPlan,
    *,
    random_yaw: bool = False,
    held_out_wordings: bool = False,
    families: Sequence[str] = (),
) -> tuple[Assignment, ...]:
    """Draw one scene in which every one of ``tasks`` can be done from the same start, each with another goal.

    Args:
        seed: decides everything; its stream decides which families of plans are used.
        tasks: names; the same task may come twice where it has more than one goal.
        plan: where the wordings come from.
        random_yaw: for a differential base; a holonomic base keeps yaw 0.
        held_out_wordings: use the wordings that are never collected.
        families: instead of those of the seed's stream.

    Raises:
        UnknownTaskError: a task is not in the catalogue.
        DrawError: the tasks contradict each other, or no scene was found.
    """
    wanted = [task_named(name) for name in tasks]
    needs: Needs | None = wanted[0].needs()
    for task in wanted[1:]:
        needs = needs and needs.merged(task.needs())
    if needs is None:
        raise DrawError(f"the tasks {', '.join(tasks)} cannot be done in one scene")
    random = np.random.default_rng(seed % (1 << 64))
    # Chosen once: a family whose draws are often rejected must not become rare.
    family = str(random.choice(list(families or families_of(seed))))
    for _ in range(_SCENES):
        scene = draw_base(random, seed, needs, family)
        if scene is None:
            continue
        goals = _choose_goals(random, wanted, scene)
        started = goals and _choose_start(random, wanted, goals, scene)
        if not goals or not started:
            continue
        (x, y), found = started
        yaw = float(random.uniform(-np.pi, np.pi)) if random_yaw else 0.0
        scene = scene.with_start(x, y, yaw)
        return tuple(
            _assign(random, plan, scene, task, goal, way, place, held_out_wordings)
            for place, (task, goal, way) in enumerate(zip(wanted, goals, found, strict=True))
        )
    raise DrawError(f"no scene for {', '.join(tasks)} with seed {seed}")


def _assign(
    random: np.random.Generator,
    plan: CollectionPlan,
    scene: Scene,
    task: Task,
    goal: Goal,
    way: tuple[float, Point],
    place: int,
    held_out: bool,
) -> Assignment:
    options = list(instructions(plan, task.name, goal, held_out=held_out))
    language = options.pop(int(random.integers(len(options))))
    return Assignment(
        scene, task, goal, plan.tasks[task.name].category, language, tuple(options), place, way[1], way[0]
    )


def _choose_goals(random: np.random.Generator, tasks: Sequence[Task], scene: Scene) -> list[Goal] | None:
    chosen: list[Goal] = []
    for task in tasks:
        goals = [goal for goal in task.goals(scene) if goal not in chosen]
        if not goals:
            return None
        chosen.append(goals[int(random.integers(len(goals)))])
    return chosen


def _choose_start(
    random: np.random.Generator, tasks: Sequence[Task], goals: Sequence[Goal], scene: Scene
) -> tuple[Point, list[tuple[float, Point]]] | None:
    """Draw a start at a suitable distance from every goal; return it with (path length, stand) of each goal."""
    stands = [goal.stands(scene) for goal in goals]
    if not all(stands):
        return None
    rooms = [scene.plan.room_at(*goal.target(scene)[:2]) for goal in goals]
    for _ in range(_STARTS):
        x, y = (float(value) for value in random.uniform(-HALF_SIZE_M, HALF_SIZE_M, size=2))
        here = scene.plan.room_at(x, y)
        if any(task.far and here in ("", room) for task, room in zip(tasks, rooms, strict=True)):
            continue
        if not is_free(scene.obstacles, x, y, START_CLEARANCE_M):
            continue
        planner = Planner((x, y), scene.obstacles)
        found = [_nearest(planner, options) for options in stands]
        if any(item is None for item in found):
            return None
        lengths = [item[0] for item in found if item is not None]
        if all(MIN_PATH_M <= m <= MAX_PATH_M[goal.aim] for m, goal in zip(lengths, goals, strict=True)):
            return (x, y), [item for item in found if item is not None]
    return None


def _nearest(planner: Planner, points: Sequence[Point]) -> tuple[float, Point] | None:
    best: tuple[float, Point] | None = None
    for point in points:
        try:
            length = planner.length(*point)
        except UnreachableError:
            continue
        if best is None or length < best[0]:
            best = (length, point)
    return best
