"""The catalogue: the tasks of the collection plan, as data, with the plan's wordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobile_vla_data.dataset.plan import CollectionPlan, PlanError, put_in
from mobile_vla_sim.tasks.goal import Aim, Goal
from mobile_vla_sim.world.furniture import SURFACES
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.plans import ROOMS
from mobile_vla_sim.world.scene import Needs, Scene

HELD_OUT_WORDINGS = 2
"""The last wordings of each task in the plan are never used for collecting."""


class UnknownTaskError(ValueError):
    """A task that is not in the catalogue; one line naming it and the ones that are."""


@dataclass(frozen=True)
class Task:
    """One entry of the catalogue."""

    name: str
    aim: Aim
    room: str = ""
    """Room that the task names; empty: none."""
    thing: str = ""
    """Object that the task names; empty: drawn."""
    surface: str = ""
    """Furniture that the task names; empty: drawn."""
    far: bool = False
    """The robot starts outside the room of the goal: the task includes the way there."""

    def needs(self) -> Needs:
        """Return what the task needs of a scene."""
        return Needs(
            cabinet_room=self.room if self.aim in (Aim.OPEN, Aim.CLOSE) else "",
            drawer_open={Aim.OPEN: False, Aim.CLOSE: True}.get(self.aim),
            holding={Aim.PLACE: True, Aim.ROOM: None, Aim.APPROACH: None}.get(self.aim, False),
            rooms=((self.thing, self.room),) if self.aim is Aim.GRASP and self.room else (),
        )

    def goals(self, scene: Scene) -> list[Goal]:
        """Return the goals that the task can have in a scene."""
        if self.aim is Aim.ROOM:
            return [Goal(self.aim, room=self.room, environment={"room": self.room})]
        if self.aim in (Aim.OPEN, Aim.CLOSE):
            return [Goal(self.aim, environment={"room": scene.piece("cabinet").room})]
        if self.aim is Aim.PLACE:
            return [_place(scene, kind) for kind in ((self.surface,) if self.surface else SURFACES)]
        things = (self.thing,) if self.thing else OBJECTS
        goals = [_object(scene, self.aim, name) for name in things if name != scene.held]
        if self.aim is Aim.APPROACH and not self.thing:
            goals += [_furniture(scene, kind) for kind in SURFACES]
        return goals


def _object(scene: Scene, aim: Aim, name: str) -> Goal:
    item = scene.object(name)
    environment = {"object": name, "room": item.room}
    if item.furniture:
        environment["furniture"] = item.furniture
    return Goal(aim, thing=name, environment=environment)


def _furniture(scene: Scene, kind: str) -> Goal:
    return Goal(Aim.APPROACH, thing=kind, environment={"object": kind, "room": scene.piece(kind).room})


def _place(scene: Scene, kind: str) -> Goal:
    environment = {"object": scene.held, "furniture": kind, "room": scene.piece(kind).room}
    return Goal(Aim.PLACE, thing=scene.held, surface=kind, environment=environment)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(Task(f"go_to_{room}", Aim.ROOM, room=room, far=True) for room in ROOMS),
        Task("navigate_to_object", Aim.APPROACH),
        Task("pick_up_object", Aim.GRASP),
        Task("place_object", Aim.PLACE),
        Task("open_drawer", Aim.OPEN),
        Task("close_drawer", Aim.CLOSE),
        Task("go_to_kitchen_and_pick_up_cup", Aim.GRASP, room="kitchen", thing="cup", far=True),
        Task("navigate_to_table_and_place_object", Aim.PLACE, surface="table", far=True),
        Task("go_to_bedroom_and_open_drawer", Aim.OPEN, room="bedroom", far=True),
    )
}


def task_named(name: str) -> Task:
    """Return the task called ``name``. Raises :class:`UnknownTaskError`."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTaskError(f"unknown task '{name}'; the catalogue has {', '.join(TASKS)}") from None


def load_plan(path: Path) -> CollectionPlan:
    """Return a collection plan that has every task of the catalogue.

    Raises:
        PlanError: the file is missing or wrong, or lacks a task.
    """
    plan = CollectionPlan.load(path)
    missing = [name for name in TASKS if name not in plan.tasks]
    if missing:
        raise PlanError(f"{path}: lacks the task {missing[0]}; config/collection_plan.yaml has it")
    return plan


def wordings(plan: CollectionPlan, task: str, *, held_out: bool) -> tuple[str, ...]:
    """Return the wordings of a task that are used for collecting, or those that are held out from it."""
    every = plan.tasks[task].instructions
    kept = every[:-HELD_OUT_WORDINGS] if len(every) > HELD_OUT_WORDINGS else every
    return tuple(every[len(kept) :] if held_out else kept)


def instructions(plan: CollectionPlan, task: str, goal: Goal, *, held_out: bool = False) -> tuple[str, ...]:
    """Return the instructions for a goal, out of the wordings whose words are known in the scene."""
    usable = []
    for wording in wordings(plan, task, held_out=held_out):
        try:
            usable.append(put_in(wording, goal.environment))
        except KeyError:
            continue
    return tuple(usable)
