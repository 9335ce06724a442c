"""The simulator itself: its speed, the expert's success in every task, and the success of robots that do nothing.

Part of make bench-sim. Expert and controls run without rendering: they look at no image.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import ROOT, Figure, say

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.parallel import Spread
from mobile_vla_sim.headless.collect import CollectConfig, collect
from mobile_vla_sim.headless.controls import CONTROLS, succeeds
from mobile_vla_sim.headless.episode import DemonstrationError, drive_episode
from mobile_vla_sim.headless.robot import HeadlessRobot
from mobile_vla_sim.tasks.catalogue import TASKS, load_plan
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.scene import Stream, scene_seed
from mobile_vla_sim.world.world import World

_CONTRACT = Contract.load(ROOT / "config" / "robot.yaml")
_CORES = len(os.sched_getaffinity(0))
_SERIES = 77
"""Series of the seeds: no dataset of the project uses it."""
_SPEED_SCENES, _SPEED_STEPS = 6, 80


class BlindWorld(World):
    """World without rendering."""

    def render(self, camera: str) -> np.ndarray:
        return np.zeros((1, 1, 3), dtype=np.uint8)


def speed() -> Iterator[Figure]:
    """Control steps per second with both cameras at 224 px, on one core."""
    plan, world = _plan(), World(_CONTRACT)
    rates, builds_ms = [], []
    for index in range(_SPEED_SCENES):
        assignment = draw(scene_seed(Stream.MANUAL, _SERIES, index), ["go_to_kitchen"], plan)[0]
        began = time.perf_counter()
        robot = HeadlessRobot(world, assignment, np.random.default_rng(index), 1)
        builds_ms.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        for step in range(_SPEED_STEPS):
            robot.observe()
            robot.advance(Velocity(0.3 if step % 2 else -0.3, 0.1))
        rates.append(_SPEED_STEPS / (time.perf_counter() - began))
    world.close()
    yield Figure("rendered control steps, both cameras, one core", float(np.median(rates)), "steps/s", ">= 300")
    yield Figure("a new scene: model, first images", float(np.median(builds_ms)), "ms")


def generation(episodes: int) -> Iterator[Figure]:
    """Episodes per minute into a dataset, two processes."""
    with tempfile.TemporaryDirectory() as folder:
        config = CollectConfig(Path(folder), _CONTRACT, _plan(), _SERIES, tuple(TASKS))
        began = time.perf_counter()
        steps = list(collect(config, episodes, spread=Spread(2)))
        minutes = (time.perf_counter() - began) / 60
        size = sum(path.stat().st_size for path in Path(folder).glob("episode_*.h5"))
    yield Figure("episodes generated, two processes, start included", episodes / minutes, "episodes/min", ">= 150")
    yield Figure("steps of an episode, median", float(np.median(steps)), "steps")
    yield Figure("size of an episode, mean", size / episodes / 1e6, "MB")


def expert(seeds: int) -> Iterator[Figure]:
    """Share of seeds in which the expert does the task in 50 to 100 steps, at the first attempt."""
    jobs = [(task, start, min(start + 25, seeds)) for task in TASKS for start in range(0, seeds, 25)]
    done: dict[str, int] = dict.fromkeys(TASKS, 0)
    with ProcessPoolExecutor(_CORES, mp_context=get_context("spawn")) as pool:
        for (task, _, _), count in zip(jobs, pool.map(_expert_job, jobs), strict=True):
            done[task] += count
    for task, count in done.items():
        yield Figure(f"expert: {task}, of {seeds} seeds", 100 * count / seeds, "%", ">= 98")


def controls(seeds: int) -> Iterator[Figure]:
    """Share of scenes in which a robot that does not do the task counts as successful, for the worst task."""
    jobs = [(name, task, seeds) for name in CONTROLS for task in TASKS]
    worst: dict[str, float] = dict.fromkeys(CONTROLS, 0.0)
    with ProcessPoolExecutor(_CORES, mp_context=get_context("spawn")) as pool:
        for (name, task, _), count in zip(jobs, pool.map(_control_job, jobs), strict=True):
            say(f"{name}: {task}: {count} of {seeds}")
            worst[name] = max(worst[name], 100 * count / seeds)
    for name, share in worst.items():
        yield Figure(f"success of a robot that is {name}, worst task, {seeds} seeds", share, "%", "<= 2")


def _plan() -> CollectionPlan:
    return load_plan(ROOT / "config" / "collection_plan.yaml")


def _expert_job(job: tuple[str, int, int]) -> int:
    task, start, end = job
    plan, world, count = _plan(), BlindWorld(_CONTRACT), 0
    for index in range(start, end):
        # Half of the scenes on plans that are collected on, half on those of the trials.
        stream = Stream.COLLECTION if index % 2 else Stream.EVALUATION
        assignment = draw(scene_seed(stream, _SERIES, index), [task], plan)[0]
        try:
            drive_episode(world, assignment, noise_m_s=0.0, attempts=1)
            count += 1
        except DemonstrationError as error:
            say(str(error))
    return count


def _control_job(job: tuple[str, str, int]) -> int:
    name, task, seeds = job
    plan, world, count = _plan(), BlindWorld(_CONTRACT), 0
    for index in range(seeds):
        assignment = draw(scene_seed(Stream.EVALUATION, _SERIES, index), [task], plan)[0]
        count += succeeds(world, assignment, CONTROLS[name](np.random.default_rng(index)))
    return count
