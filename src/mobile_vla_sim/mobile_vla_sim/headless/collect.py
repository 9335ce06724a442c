"""Headless collection: the expert drives episodes into a dataset, faster than real time, on every core.

Episode ``i`` of seed ``s`` is the same whoever makes it and whenever: scene, noise and sensor timing come from
(s, i). What is already in the folder is recognised by its scene and not made again.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset, next_number
from mobile_vla_data.storage.lock import DatasetLock
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_sim.expert.expert import Expert
from mobile_vla_sim.expert.noise import DrivingNoise
from mobile_vla_sim.headless.robot import HeadlessRobot, Snapshot
from mobile_vla_sim.tasks.catalogue import task_named
from mobile_vla_sim.tasks.draw import Assignment, draw
from mobile_vla_sim.tasks.success import STANDSTILL_M_S
from mobile_vla_sim.world.scene import Stream, scene_seed
from mobile_vla_sim.world.world import World

MIN_STEPS, MAX_STEPS = 50, 100
HOLD_TICKS = 10
"""Control ticks at the goal at the end of every episode, from which stopping is learned."""
_ATTEMPTS = 20

_EPOCH_NS = 1_767_225_600_000_000_000
"""Stamp of simulated time zero of episode 0, 2026-01-01 UTC; a constant, because episodes must not depend on when."""
_EPISODE_SPACING_NS = 20_000_000_000


class CollectError(RuntimeError):
    """Collection cannot go on; one line."""


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    dataset: Path
    contract: Contract
    seed: int
    tasks: tuple[str, ...]
    noise_m_s: float = 0.22
    """Standard deviation of the driving noise [m/s]; 0 turns it and the pushes off."""


@dataclass(frozen=True)
class Step:
    """One step of an episode as it is written."""

    snapshot: Snapshot
    action: npt.NDArray[np.float32]
    """float32 ``[3]``."""


def drive_episode(world: World, assignment: Assignment, index: int, noise_m_s: float) -> list[Step]:
    """Let the expert drive one scene; the noise of the first attempt that ends in time is kept.

    Returns between :data:`MIN_STEPS` and :data:`MAX_STEPS` steps that end with the goal achieved.

    Raises:
        CollectError: no attempt achieved the goal in time.
    """
    for attempt in range(_ATTEMPTS):
        random = np.random.default_rng([assignment.scene.seed, attempt, zlib.crc32(assignment.task.name.encode())])
        steps = _attempt(world, assignment, random, _EPOCH_NS + index * _EPISODE_SPACING_NS, noise_m_s)
        if steps:
            return steps
    name, seed = assignment.task.name, assignment.scene.seed
    raise CollectError(f"scene {seed} ({name}): the expert was not done within {MAX_STEPS} steps")


def _attempt(
    world: World, assignment: Assignment, random: np.random.Generator, epoch_ns: int, noise_m_s: float
) -> list[Step] | None:
    contract = world.contract
    robot = HeadlessRobot(world, assignment, random, epoch_ns)
    expert, codec = Expert(assignment, contract), ActionCodec(contract)
    noise = DrivingNoise(random, contract, noise_m_s) if noise_m_s > 0.0 else None
    steps: list[Step] = []
    standing = 0
    while len(steps) < MAX_STEPS:
        snapshot = robot.observe()
        command = expert.command(snapshot.truth, contract.period_s)
        velocity = command.velocity
        action = np.array([*codec.to_delta(velocity), command.gripper], dtype=np.float32)
        steps.append(Step(snapshot, action))
        slow = math.hypot(velocity.x, velocity.y) < STANDSTILL_M_S
        standing = standing + 1 if slow and command.done else 0
        if standing >= HOLD_TICKS and len(steps) >= MIN_STEPS:
            return steps
        robot.advance(noise.disturb(velocity) if noise else velocity, command.gripper)
    return None


def write_episode(world: World, config: CollectConfig, index: int, episode_id: str) -> int:
    """Drive and commit episode ``index``; returns its number of steps."""
    scene = scene_of(config, index)
    steps = drive_episode(world, scene, index, config.noise_m_s)
    environment = {**scene.environment(), "simulated": True, "noise_m_s": config.noise_m_s}
    metadata = EpisodeMetadata(scene.language, scene.task.name, scene.task.category, "expert", environment)
    writer = EpisodeWriter(
        config.dataset, config.contract, metadata, cameras=tuple(config.contract.cameras), episode_id=episode_id
    )
    try:
        for step in steps:
            snapshot = step.snapshot
            writer.add_step(
                stamp_ns=snapshot.stamp_ns,
                images=snapshot.images,
                state=snapshot.state,
                action=step.action,
                stamps_ns=snapshot.stamps_ns,
            )
        writer.commit("success")
    except BaseException:
        writer.discard()
        raise
    return len(steps)


def scene_of(config: CollectConfig, index: int) -> Scene:
    """The scene of episode ``index``; tasks take turns, so that they stay balanced however many are made."""
    task = config.tasks[index % len(config.tasks)]
    random_yaw = config.contract.base == "differential"
    return make_scene(scene_seed(Stream.COLLECTION, config.seed, index), task, random_yaw=random_yaw)


def missing_indices(config: CollectConfig, episodes: int, *, top_up: bool) -> list[int]:
    """Which episodes have to be made: of 0 .. ``episodes`` - 1 those not in the folder.

    With ``top_up`` every episode in the folder counts, whoever recorded it, and ``episodes`` is the wanted total.
    """
    dataset = Dataset.open(config.dataset)
    present = set()
    for path in dataset.episode_paths:
        with Episode.open(path) as episode:
            present.add(episode.metadata.environment.get("scene_seed"))
    total = len(dataset.episode_paths)
    if not top_up:
        return [i for i in range(episodes) if scene_seed(Stream.COLLECTION, config.seed, i) not in present]
    missing: list[int] = []
    index = 0
    while total + len(missing) < episodes:
        if scene_seed(Stream.COLLECTION, config.seed, index) not in present:
            missing.append(index)
        index += 1
    return missing


def collect(
    config: CollectConfig,
    episodes: int,
    *,
    workers: int = 1,
    top_up: bool = False,
    on_plan: Callable[[int], None] = lambda wanted: None,
) -> Iterator[int]:
    """Make the missing episodes, yielding the number of steps of each as it is committed.

    Args:
        config: what to collect.
        episodes: how many the series, or with ``top_up`` the folder, is to hold.
        workers: processes.
        top_up: see :func:`missing_indices`.
        on_plan: told how many episodes are to be made, before the first.

    Raises:
        UnknownTaskError: a task is not in the catalogue.
        DatasetBusyError: someone else writes to the folder.
        CollectError: see :func:`drive_episode`.
    """
    for name in config.tasks:
        task_named(name)
    with DatasetLock(config.dataset):
        missing = missing_indices(config, episodes, top_up=top_up)
        on_plan(len(missing))
        # Ids are given out here, so that processes do not compete for them.
        first = next_number(config.dataset)
        jobs = [(index, f"episode_{first + place:06d}") for place, index in enumerate(missing)]
        if workers <= 1 or len(jobs) <= 1:
            yield from _collect_here(config, jobs)
        else:
            yield from _collect_in_processes(config, jobs, min(workers, len(jobs)))


def default_workers() -> int:
    """One process per core this process may use."""
    return len(os.sched_getaffinity(0))


def _collect_here(config: CollectConfig, jobs: Sequence[tuple[int, str]]) -> Iterator[int]:
    world = World(config.contract)
    try:
        for index, episode_id in jobs:
            yield write_episode(world, config, index, episode_id)
    finally:
        world.close()


def _collect_in_processes(config: CollectConfig, jobs: Sequence[tuple[int, str]], workers: int) -> Iterator[int]:
    # Spawned, not forked: a graphics context does not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(config,))
    try:
        futures = [pool.submit(_worker_job, index, episode_id) for index, episode_id in jobs]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple[World, CollectConfig] | None = None
"""A worker process keeps its world between jobs; the pool's interface leaves no other place for it."""


def _start_worker(config: CollectConfig) -> None:
    global _worker
    # Ctrl-C reaches the whole process group; the parent decides, and open episodes are finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = World(config.contract), config


def _worker_job(index: int, episode_id: str) -> int:
    assert _worker is not None
    world, config = _worker
    return write_episode(world, config, index, episode_id)
