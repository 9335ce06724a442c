"""Headless collection: the expert drives episodes into a dataset, faster than real time, on every core.

A policy may drive the first part of each, for corrections of its own errors. Episode ``i`` of seed ``s`` does not
depend on the process or the time that makes it: scene, noise and sensor timing come from (s, i). Episodes that are
already in the folder are recognised by their scene and not made again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.schema import next_number
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_data.storage.lock import DatasetLock
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_sim.headless.episode import DemonstrationError, OutOfTimeError, Step, drive_episode
from mobile_vla_sim.tasks.draw import Assignment, draw
from mobile_vla_sim.tasks.schedule import Schedule
from mobile_vla_sim.world.odometry import OdometryKind
from mobile_vla_sim.world.plans import HELD_OUT_FAMILIES
from mobile_vla_sim.world.scene import Stream, scene_seed
from mobile_vla_sim.world.world import World

_EPOCH_NS = 1_767_225_600_000_000_000
"""Stamp of simulated time zero of episode 0, 2026-01-01 UTC; a constant, because episodes must not depend on when."""
_EPISODE_SPACING_NS = 20_000_000_000
_TOO_MANY = 10
"""A collection ends when this many scenes could not be demonstrated, and they are more than a tenth."""


@dataclass(frozen=True)
class CollectConfig:
    """Settings of a collection."""

    dataset: Path
    contract: Contract
    plan: CollectionPlan
    seed: int
    tasks: tuple[str, ...]
    noise_m_s: float = 0.22
    """Standard deviation of the driving noise [m/s]; 0 turns it and the pushes off."""
    odometry: OdometryKind = "drifting"
    load_policy: Callable[[], DrivingPolicy] | None = None
    """Loads a policy that drives the first part of each episode, in each process; so it must be picklable."""
    policy: str = ""
    """Name of that policy, for the episodes' metadata."""


def assignment_of(config: CollectConfig, index: int) -> Assignment:
    """Return what episode ``index`` demonstrates. Episodes of one group share the scene and the start."""
    slot = Schedule(config.tasks, config.plan).slot(index)
    seed = scene_seed(Stream.COLLECTION, config.seed, slot.group)
    group = draw(seed, slot.tasks, config.plan, random_yaw=config.contract.base == "differential")
    return group[slot.place]


def write_episode(
    world: World, config: CollectConfig, index: int, episode_id: str, policy: DrivingPolicy | None = None
) -> int:
    """Drive and commit episode ``index``; returns its number of steps.

    Raises:
        DemonstrationError: the expert cannot do it.
    """
    assignment = assignment_of(config, index)
    family = assignment.scene.plan.family
    if family in HELD_OUT_FAMILIES:
        raise DemonstrationError(f"floor plans of the family {family} are for trials only")
    epoch_ns = _EPOCH_NS + index * _EPISODE_SPACING_NS
    steps = drive_episode(
        world,
        assignment,
        epoch_ns=epoch_ns,
        noise_m_s=config.noise_m_s,
        odometry=config.odometry,
        policy=policy,
    )
    environment = {**assignment.environment(), "noise_m_s": config.noise_m_s, "odometry": config.odometry}
    if config.policy:
        environment["policy"] = config.policy
    metadata = EpisodeMetadata(
        assignment.language,
        assignment.task.name,
        assignment.category,
        "expert",
        environment,
        assignment.alternatives,
    )
    writer = EpisodeWriter(
        config.dataset, config.contract, metadata, cameras=config.contract.camera_names, episode_id=episode_id
    )
    try:
        for step in steps:
            _add(writer, step)
        writer.commit("success", lost_yaw_rad=sum(step.lost_yaw_rad for step in steps))
    except BaseException:
        writer.discard()
        raise
    return len(steps)


def _add(writer: EpisodeWriter, step: Step) -> None:
    snapshot = step.snapshot
    writer.add_step(
        stamp_ns=snapshot.stamp_ns,
        images=snapshot.images,
        state=snapshot.state,
        action=step.action,
        stamps_ns=snapshot.stamps_ns,
        target=snapshot.target if snapshot.target != (-1, -1) else None,
        source_encodings=dict.fromkeys(snapshot.images, "rgb8"),
    )


def missing_indices(config: CollectConfig, episodes: int, *, top_up: bool) -> list[int]:
    """Return which episodes have to be made: of 0 .. ``episodes`` - 1 those not in the folder.

    With ``top_up`` every episode in the folder counts, whatever recorded it, and ``episodes`` is the total.
    """
    dataset, schedule = Dataset.open(config.dataset), Schedule(config.tasks, config.plan)
    present = set()
    for path in dataset.episode_paths:
        with Episode.open(path) as episode:
            environment = episode.metadata.environment
            present.add(tuple(environment.get(key, "") for key in ("scene_seed", "scene_place", "policy")))

    def made(index: int) -> bool:
        slot = schedule.slot(index)
        return (scene_seed(Stream.COLLECTION, config.seed, slot.group), slot.place, config.policy) in present

    total = len(dataset.episode_paths)
    if not top_up:
        return [index for index in range(episodes) if not made(index)]
    missing: list[int] = []
    index = 0
    while total + len(missing) < episodes:
        if not made(index):
            missing.append(index)
        index += 1
    return missing


def collect(
    config: CollectConfig,
    episodes: int,
    *,
    spread: Spread = HERE,
    top_up: bool = False,
    on_plan: Callable[[int], None] = lambda wanted: None,
    on_left_out: Callable[[str], None] = lambda why: None,
) -> Iterator[int]:
    """Make the missing episodes, yielding the number of steps of each as it is committed.

    Args:
        config: what to collect.
        episodes: how many the series, or with ``top_up`` the folder, is to hold.
        spread: where they are made.
        top_up: see :func:`missing_indices`.
        on_plan: told how many episodes are to be made, before the first.
        on_left_out: told why a scene could not be demonstrated; its episode is left out.

    Raises:
        UnknownTaskError: a task is not in the catalogue.
        DatasetBusyError: another process writes to the folder.
        DemonstrationError: the expert cannot do many of the scenes.
    """
    Schedule(config.tasks, config.plan)
    with DatasetLock(config.dataset):
        missing = missing_indices(config, episodes, top_up=top_up)
        on_plan(len(missing))
        # Ids are given out here, so that processes do not compete for them.
        first = next_number(config.dataset)
        jobs = [(index, f"episode_{first + place:06d}") for place, index in enumerate(missing)]
        results = spread.run(partial(_Collector, config), _Collector.write, jobs, release=_Collector.close)
        left_out = 0
        for number, result in enumerate(results, start=1):
            if isinstance(result, int):
                yield result
                continue
            left_out += 1
            if left_out >= _TOO_MANY and left_out > number / 10:
                raise DemonstrationError(f"{left_out} of {number} scenes could not be demonstrated; the last: {result}")
            on_left_out(str(result))


def default_workers() -> int:
    """Return one process per core that this process may use."""
    return len(os.sched_getaffinity(0))


class _Collector:
    """A world, and the policy that leads in it."""

    def __init__(self, config: CollectConfig) -> None:
        self._config, self._world = config, World(config.contract)
        self._policy = config.load_policy() if config.load_policy else None

    def write(self, job: tuple[int, str]) -> int | OutOfTimeError:
        """Write one episode, (index, id); return its number of steps, or why there is none."""
        try:
            return write_episode(self._world, self._config, *job, self._policy)
        except OutOfTimeError as error:
            return error

    def close(self) -> None:
        """Free the graphics."""
        self._world.close()
