"""Skill of demonstrations: numbers for comparing operators and days, never a reason to refuse an episode.

Smoothness is the log dimensionless jerk of the commanded velocity (Balasubramanian, Melendez-Calderon and Burdet,
"A robust and sensitive metric for quantifying movement smoothness", IEEE TBME 59(8), 2012):
``-ln(T^3 / v_peak^2 * integral of |d2v/dt2|^2 dt)``, 0 or less; nearer to 0 is smoother. It depends neither on the
speed nor on the duration of a movement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import displacement, gripper, position, yaw
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode, EpisodeError

#: Slower than this is standing still [m/s], [rad/s].
STILL_M_S, STILL_RAD_S = 0.02, 0.05
#: A pause lasts at least this long, between movements [s].
PAUSE_S = 0.5
#: A gripper command that is taken back within this time is chatter [s].
CHATTER_S = 1.0
#: Key of an episode's environment that names who drove.
OPERATOR = "operator"


@dataclass(frozen=True)
class Skill:
    """Measures of one demonstration."""

    episode_id: str
    task: str
    outcome: str
    operator: str
    """``environment["operator"]``; empty if it is not recorded."""
    day: str
    """Day of recording, UTC."""
    smoothness: float | None
    """Log dimensionless jerk; None for an episode that hardly moves or has fewer than three steps."""
    pauses: int
    """Standing still for :data:`PAUSE_S` or longer between two movements."""
    paused_s: float
    chatter: int
    """Gripper commands that were reversed within :data:`CHATTER_S`."""
    path_m: float
    """Length of the path by the odometry [m]."""
    duration_s: float
    path_ratio: float | None = None
    """Path length over the shortest success of the task; None where the task has no success, or one of no length."""

    @property
    def time_to_success_s(self) -> float | None:
        """Duration of a success [s]; None otherwise."""
        return self.duration_s if self.outcome == "success" else None


@dataclass(frozen=True)
class SkillGroup:
    """Medians over the episodes of one operator on one day; None where no episode has the value."""

    operator: str
    day: str
    episodes: int
    success_share: float
    """Successes among the episodes with a known outcome, 0 .. 1; NaN if none is known."""
    smoothness: float | None
    pauses: float
    chatter: float
    path_ratio: float | None
    time_to_success_s: float | None


def measure(episode: Episode) -> Skill:
    """Measure one episode. Raises :class:`EpisodeError`."""
    metadata, period_s = episode.metadata, episode.contract.period_s
    actions, states = episode.actions, episode.states
    turn = yaw(actions)
    velocity = displacement(actions).astype(np.float64) / period_s
    turning = np.zeros(len(actions)) if turn is None else turn / period_s
    moving = (np.hypot(*velocity.T) > STILL_M_S) | (np.abs(turning) > STILL_RAD_S)
    pauses = _pauses(moving, round(PAUSE_S / period_s))
    steps = np.hypot(*np.diff(position(states).astype(np.float64), axis=0).T)
    return Skill(
        episode.episode_id,
        metadata.task,
        episode.outcome,
        str(metadata.environment.get(OPERATOR, "")),
        episode.created_at[:10],
        smoothness(velocity, period_s),
        len(pauses),
        sum(pauses) * period_s,
        _chatter(gripper(actions) > 0.5, round(CHATTER_S / period_s)),
        float(steps.sum()),
        episode.num_steps * period_s,
    )


def measure_dataset(path: str | Path) -> list[Skill]:
    """Measure every readable episode of a dataset, with path ratios. Raises :class:`DatasetError`."""
    found = []
    for episode_path in Dataset.open(path).episode_paths:
        try:
            with Episode.open(episode_path) as episode:
                found.append(measure(episode))
        except (EpisodeError, ValueError):
            continue  # validate names it
    return with_path_ratios(found)


def with_path_ratios(skills: Iterable[Skill]) -> list[Skill]:
    """Compare each path with the shortest success of its task."""
    listed = list(skills)
    shortest: dict[str, float] = {}
    for skill in listed:
        if skill.outcome == "success":
            shortest[skill.task] = min(skill.path_m, shortest.get(skill.task, math.inf))
    return [
        replace(skill, path_ratio=skill.path_m / best if (best := shortest.get(skill.task, 0.0)) > 0 else None)
        for skill in listed
    ]


def by_operator_and_day(skills: Iterable[Skill]) -> list[SkillGroup]:
    """Summarise per operator and day, in that order."""
    groups: dict[tuple[str, str], list[Skill]] = defaultdict(list)
    for skill in skills:
        groups[skill.operator, skill.day].append(skill)
    return [_summarise(*key, members) for key, members in sorted(groups.items())]


def smoothness(velocity: npt.NDArray[np.float64], period_s: float) -> float | None:
    """Log dimensionless jerk of a velocity ``[T, D]``; None for fewer than three steps, or one that stands still."""
    if len(velocity) < 3:
        return None
    peak = float(np.linalg.norm(velocity, axis=1).max())
    jerk = np.diff(velocity, 2, axis=0) / period_s**2
    energy = float((jerk**2).sum()) * period_s
    if peak <= STILL_M_S or energy <= 0:
        return None
    duration_s = len(velocity) * period_s
    return -math.log(duration_s**3 / peak**2 * energy)


def _pauses(moving: npt.NDArray[np.bool_], shortest: int) -> list[int]:
    """Return the lengths of the pauses in steps; time before the first and after the last movement does not count."""
    found, still = [], 0
    for number, moves in enumerate(moving[np.argmax(moving) :] if moving.any() else []):
        if not moves:
            still += 1
        elif number:
            if still >= max(1, shortest):
                found.append(still)
            still = 0
    return found


def _chatter(closed: npt.NDArray[np.bool_], window: int) -> int:
    changes = np.flatnonzero(np.diff(closed.astype(np.int8)))
    return int((np.diff(changes) < window).sum())


def _summarise(operator: str, day: str, members: Sequence[Skill]) -> SkillGroup:
    known = [skill for skill in members if skill.outcome != "unlabelled"]
    successes = sum(skill.outcome == "success" for skill in known)
    return SkillGroup(
        operator,
        day,
        len(members),
        successes / len(known) if known else math.nan,
        _median(skill.smoothness for skill in members),
        float(median(skill.pauses for skill in members)),
        float(median(skill.chatter for skill in members)),
        _median(skill.path_ratio for skill in members),
        _median(skill.time_to_success_s for skill in members),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None
