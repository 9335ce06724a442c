"""How many episodes of which task a dataset folder holds, counted once and kept up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mobile_vla_data.reader import Dataset, Episode, EpisodeError
from mobile_vla_msgs.msg import TaskProgress


@dataclass
class _Count:
    done: int = 0
    failed: int = 0


@dataclass
class Progress:
    """Counts of a dataset folder."""

    episodes: int = 0
    steps: int = 0
    problems: list[str] = field(default_factory=list)
    """Files that cannot be read, one line each."""
    _tasks: dict[tuple[str, str], _Count] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Path) -> Progress:
        """Count the committed episodes of a folder."""
        progress = cls()
        for path in Dataset.open(dataset).episode_paths:
            progress.add(path)
        return progress

    def add(self, path: Path) -> None:
        """Count one more committed episode."""
        try:
            with Episode.open(path) as episode:
                count = self._tasks.setdefault((episode.metadata.category, episode.metadata.task), _Count())
                if episode.outcome == "failure":
                    count.failed += 1
                else:
                    count.done += 1
                self.steps += episode.num_steps
        except EpisodeError as error:
            self.problems.append(str(error))
        else:
            self.episodes += 1

    def messages(self) -> list[TaskProgress]:
        """One message per task seen."""
        return [
            TaskProgress(category=category, task=task, wanted=0, done=count.done, failed=count.failed)
            for (category, task), count in sorted(self._tasks.items())
        ]
