"""The catalogue: the tasks of the collection plan, as data, with the plan's wordings."""

from __future__ import annotations

from pathlib import Path

from mobile_vla_data.dataset.plan import CollectionPlan, PlanError, put_in
from mobile_vla_sim.tasks.goal import Goal, Task
from mobile_vla_sim.tasks.kinds import GoToRoom, GoToThing, PickUp, Place, UseDrawer
from mobile_vla_sim.world.plans import ROOMS

HELD_OUT_WORDINGS = 2
"""The last wordings of each task in the plan are never used for collecting."""


class UnknownTaskError(ValueError):
    """A task that is not in the catalogue; one line naming it and the ones that are."""


_ENTRIES: tuple[Task, ...] = (
    *(GoToRoom(f"go_to_{room}", room) for room in ROOMS),
    GoToThing("navigate_to_object"),
    PickUp("pick_up_object"),
    Place("place_object"),
    UseDrawer("open_drawer", opens=True),
    UseDrawer("close_drawer", opens=False),
    PickUp("go_to_kitchen_and_pick_up_cup", thing="cup", room="kitchen", far=True),
    Place("navigate_to_table_and_place_object", surface="table", far=True),
    UseDrawer("go_to_bedroom_and_open_drawer", opens=True, room="bedroom", far=True),
)

TASKS: dict[str, Task] = {task.name: task for task in _ENTRIES}
"""Every task by its name."""


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
            usable.append(put_in(wording, dict(goal.environment)))
        except KeyError:
            continue
    return tuple(usable)
