"""Statistics of actions and states, for normalisation and inspection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobile_vla_data.episode.reader import Episode


class StatisticsError(ValueError):
    """Statistics cannot be computed or read; one line saying why."""


@dataclass(frozen=True)
class VectorStatistics:
    """Per dimension of a 3-vector, over every step: length-3 tuples in the vector's own units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> VectorStatistics:
        """Compute from ``[N, 3]``, in float64: sums of 100,000 float32 lose the fourth digit."""
        exact = np.asarray(values, dtype=np.float64)
        rows = (exact.mean(0), exact.std(0), exact.min(0), exact.max(0), *np.quantile(exact, (0.01, 0.99), axis=0))
        return cls(*(tuple(float(value) for value in row) for row in rows))


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of episodes."""

    num_episodes: int
    num_steps: int
    actions: VectorStatistics
    """delta_x [m], delta_y [m], gripper."""
    states: VectorStatistics
    """x [m], y [m], gripper."""

    def to_json(self) -> str:
        """Serialise; :meth:`from_json` reads it back to an equal object."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, origin: str = "stats.json") -> Statistics:
        """Read what :meth:`to_json` wrote. Raises :class:`StatisticsError`."""
        try:
            data = json.loads(text)
            vectors = {
                name: VectorStatistics(**{key: tuple(map(float, row)) for key, row in data[name].items()})
                for name in ("actions", "states")
            }
            return cls(int(data["num_episodes"]), int(data["num_steps"]), **vectors)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StatisticsError(f"{origin}: not statistics of this version: {error!r}") from None


def compute_statistics(paths: Iterable[str | Path]) -> Statistics:
    """Statistics over every step of the given episode files.

    Raises:
        StatisticsError: no episode, or a value that is not finite.
        EpisodeError: a file cannot be read.
    """
    actions, states = [], []
    for path in paths:
        with Episode.open(path) as episode:
            actions.append(episode.actions)
            states.append(episode.states)
        for name, values in (("actions", actions[-1]), ("observations/state", states[-1])):
            if not np.isfinite(values).all():
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise StatisticsError(f"{path}: {name}, step {step} is not finite; validate the dataset first")
    if not sum(len(values) for values in actions):
        raise StatisticsError("no steps to compute statistics of; record episodes first")
    all_actions, all_states = np.concatenate(actions), np.concatenate(states)
    return Statistics(len(actions), len(all_actions), VectorStatistics.of(all_actions), VectorStatistics.of(all_states))
