"""Progress of a collection, counted from the episode files alone, and the next episode to record."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import combinations
from pathlib import Path

from mobile_vla_data.dataset.folder import Dataset, signature
from mobile_vla_data.dataset.plan import CollectionPlan, put_in, wording_of
from mobile_vla_data.episode.reader import Episode, EpisodeError

#: The pace of the last days predicts the next ones better than the first day does.
_PACE_DAYS = 7
#: A folder that changed less than this ago may change again without another time of change [ns].
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class TaskProgress:
    """Progress of one task."""

    category: str
    task: str
    wanted: int
    """Episodes the plan asks for; 0 when it does not name the task."""
    done: int
    """Episodes that count: every outcome but failure."""
    failed: int


@dataclass(frozen=True)
class Proposal:
    """The next episode to record."""

    category: str
    task: str
    language: str
    environment: dict[str, str]


@dataclass(frozen=True)
class _Seen:
    task: str
    category: str
    language: str
    environment: dict[str, str]
    failed: bool
    day: date | None
    steps: int


@dataclass
class Tally:
    """Counts of a dataset folder; :meth:`add` keeps them up to date without reading the folder again."""

    problems: list[str] = field(default_factory=list)
    """Files that cannot be read, one line each."""
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _signatures: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _folder_changed_ns: int = -1

    @classmethod
    def of(cls, dataset: str | Path) -> Tally:
        """Count the committed episodes of a folder; this alone resumes a collection after any restart."""
        tally = cls()
        tally.follow(dataset)
        return tally

    def follow(self, dataset: str | Path) -> bool:
        """Count again what was added, edited or deleted in the folder since; return whether anything was.

        Where nothing was, this costs one look at the folder's time of change.

        Raises:
            DatasetError: there is no such folder.
        """
        folder = Dataset.open(dataset)
        changed_ns = folder.path.stat().st_mtime_ns
        if changed_ns == self._folder_changed_ns:
            return False
        paths = {path.name: path for path in folder.episode_paths}
        gone = self._signatures.keys() - paths.keys()
        for name in gone:
            del self._signatures[name]
            self._seen.pop(name, None)
        changed = [path for name, path in paths.items() if self._signatures.get(name) != signature(path)]
        for path in changed:
            self.add(path)
        # A second change within the resolution of the file system's clock would not show: look again next time.
        self._folder_changed_ns = changed_ns if time.time_ns() - changed_ns > _SETTLED_NS else -1
        return bool(gone or changed)

    def add(self, path: Path) -> None:
        """Count one committed episode; adding it twice counts it once."""
        self._signatures[path.name] = signature(path)
        self._seen.pop(path.name, None)
        try:
            with Episode.open(path) as episode:
                metadata = episode.metadata
                environment = {name: str(value) for name, value in metadata.environment.items()}
                self._seen[path.name] = _Seen(
                    metadata.task,
                    metadata.category,
                    metadata.language,
                    environment,
                    episode.outcome == "failure",
                    _day(episode.created_at),
                    episode.num_steps,
                )
        except EpisodeError as error:
            self.problems.append(str(error))

    @property
    def episodes(self) -> int:
        """Readable episodes."""
        return len(self._seen)

    @property
    def steps(self) -> int:
        """Their steps."""
        return sum(seen.steps for seen in self._seen.values())

    def tasks(self, plan: CollectionPlan | None) -> list[TaskProgress]:
        """Progress of every task of the plan, in its order, then of tasks that it does not name."""
        wanted: dict[tuple[str, str], int] = {}
        if plan is not None:
            wanted = {(task.category, name): task.episodes for name, task in plan.tasks.items()}
        done = Counter((seen.category, seen.task) for seen in self._seen.values() if not seen.failed)
        failed = Counter((seen.category, seen.task) for seen in self._seen.values() if seen.failed)
        others = sorted((done.keys() | failed.keys()) - wanted.keys())
        return [
            TaskProgress(category, name, wanted.get((category, name), 0), done[category, name], failed[category, name])
            for category, name in [*wanted, *others]
        ]

    def done(self, plan: CollectionPlan) -> int:
        """Episodes of the plan that are recorded; those beyond what a task asks for do not count."""
        return sum(min(item.done, item.wanted) for item in self.tasks(plan))

    def propose(self, plan: CollectionPlan) -> Proposal | None:
        """Return the task with the fewest episodes, in the wording and environment recorded least.

        Wordings and environments are balanced each by itself first, then in pairs, then in full combinations, so that
        no wording goes with one lighting only. None when the plan is fulfilled.
        """
        open_tasks = [item for item in self.tasks(plan) if item.done < item.wanted]
        if not open_tasks:
            return None
        chosen = min(open_tasks, key=lambda item: item.done)
        task = plan.tasks[chosen.task]
        used: Counter[frozenset[tuple[str, str]]] = Counter()
        for seen in self._seen.values():
            if seen.task == chosen.task and not seen.failed:
                wording = wording_of(seen.language, task, {**task.given, **seen.environment}) or ""
                values = {name: seen.environment.get(name, "") for name in task.varies}
                used.update(_subsets({**values, "wording": wording}))
        candidates = [
            (environment, wording) for environment in plan.environments(chosen.task) for wording in task.instructions
        ]
        environment, wording = min(candidates, key=lambda item: _use(used, chosen.task, task.varies, *item))
        return Proposal(chosen.category, chosen.task, put_in(wording, environment), environment)

    def forecast(self, plan: CollectionPlan, today: date) -> date | None:
        """Return the day on which the plan is fulfilled at the pace of the last week; None without episodes in it."""
        remaining = sum(max(0, item.wanted - item.done) for item in self.tasks(plan))
        if not remaining:
            return today
        days = [seen.day for seen in self._seen.values() if seen.day is not None and not seen.failed]
        recent = [day for day in days if (today - day).days < _PACE_DAYS]
        if not recent:
            return None
        spanned = min(_PACE_DAYS, (today - min(days)).days + 1)
        return today + timedelta(days=math.ceil(remaining / (len(recent) / spanned)))


def propose(dataset: str | Path) -> Proposal | None:
    """Return the next episode by the plan in the dataset folder; None without a plan or when it is fulfilled."""
    plan = CollectionPlan.of_dataset(Path(dataset))
    return Tally.of(dataset).propose(plan) if plan is not None else None


def _subsets(values: dict[str, str]) -> list[frozenset[tuple[str, str]]]:
    """Yield the single values, the pairs, and the whole combination."""
    items = sorted(values.items())
    sizes = {1, min(2, len(items)), len(items)}
    return [frozenset(part) for size in sorted(sizes) for part in combinations(items, size)]


def _use(
    used: Counter[frozenset[tuple[str, str]]], task: str, varies: list[str], environment: dict[str, str], wording: str
) -> tuple[int, int, int, str]:
    values = {**{name: environment[name] for name in varies}, "wording": wording}
    by_size = dict.fromkeys((1, 2, len(values)), 0)
    for subset in _subsets(values):
        by_size[len(subset)] += used[subset]
    # A fixed shuffle decides among equals: the plan's order would record all bright rooms first.
    lot = hashlib.sha256(repr((task, sorted(values.items()))).encode()).hexdigest()
    return by_size[1], by_size[2], by_size[len(values)], lot


def _day(created_at: str) -> date | None:
    try:
        return datetime.fromisoformat(created_at.replace("Z", "+00:00")).date()
    except ValueError:
        return None
