"""Assignments of a scene, from a request or from parameters; the same in simulator, expert and trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError
from mobile_vla_ros.parameters import path
from mobile_vla_ros.run import StartError
from mobile_vla_sim.defaults import config_file
from mobile_vla_sim.tasks.catalogue import TASKS, UnknownTaskError, load_plan, task_named
from mobile_vla_sim.tasks.draw import Assignment, DrawError, draw

EMPTY_HANDED: tuple[str, ...] = tuple(name for name, task in TASKS.items() if not task.needs().holding)
"""Tasks that start with an open gripper: what a scene is drawn for when no task is named."""


def assign(
    plan: CollectionPlan,
    contract: Contract,
    seed: int,
    tasks: Sequence[str],
    place: int = 0,
    *,
    held_out_wording: bool = False,
) -> Assignment:
    """Return what is done at ``place`` of ``tasks`` in the scene of ``seed``; without tasks the seed draws one.

    Raises:
        UnknownTaskError: a task is not in the catalogue.
        DrawError: the tasks exclude each other, or ``place`` is none of them.
    """
    chosen = tuple(tasks) or (str(np.random.default_rng(seed % (1 << 64)).choice(EMPTY_HANDED)),)
    if not 0 <= place < len(chosen):
        raise DrawError(f"place {place} is not one of {len(chosen)} tasks")
    turned = contract.base == "differential"
    return draw(seed, chosen, plan, random_yaw=turned, held_out_wordings=held_out_wording)[place]


def first_assignment(node: Any, plan: CollectionPlan, contract: Contract, seed: int, task: str) -> Assignment:
    """Return the first scene of a simulator. Raises :class:`StartError` naming a wrong parameter."""
    try:
        return assign(plan, contract, seed, (task,) if task else ())
    except (UnknownTaskError, DrawError) as error:
        raise StartError(f"{node.get_name()}: parameter 'task': {error}") from None


def load_plan_parameter(node: Any) -> CollectionPlan:
    """Declare and load the collection plan that words the instructions. Raises :class:`StartError`."""
    named = path(node, "plan", "collection plan with the tasks' wordings; empty: the installed one")
    try:
        return load_plan(named or config_file("collection_plan.yaml"))
    except PlanError as error:
        raise StartError(f"{node.get_name()}: parameter 'plan': {error}") from None


def task_names(node: Any, names: str) -> tuple[str, ...]:
    """Return the tasks in a comma-separated list, all when it is empty. Raises :class:`StartError`."""
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    try:
        return tuple(task_named(name).name for name in found or tuple(TASKS))
    except UnknownTaskError as error:
        raise StartError(f"{node.get_name()}: parameter 'tasks': {error}") from None
