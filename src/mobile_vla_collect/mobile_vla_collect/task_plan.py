"""The recorder's view of the collection plan: what is next, what a request leaves open, how far the collection is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.dataset.progress import Proposal, Tally, TaskProgress
from mobile_vla_data.episode.metadata import EpisodeMetadata


class TaskPlan:
    """Counts the dataset folder once, is told of each new episode, and proposes by the plan if there is one."""

    def __init__(self, dataset: Path, plan_file: Path | None) -> None:
        """``plan_file`` is copied into a folder that has no plan yet; None uses the folder's own, if any.

        Raises:
            PlanError: a plan is missing or wrong.
        """
        dataset.mkdir(parents=True, exist_ok=True)
        self.plan = CollectionPlan.ensure(dataset, plan_file) if plan_file else CollectionPlan.of_dataset(dataset)
        self.tally = Tally.of(dataset)
        self.next = self._propose()

    def add(self, path: Path) -> None:
        """Count one more committed episode."""
        self.tally.add(path)
        self.next = self._propose()

    @property
    def tasks(self) -> list[TaskProgress]:
        """How far every task is."""
        return self.tally.tasks(self.plan)

    def fill(
        self, language: str, task: str, category: str, source: str, environment: Mapping[str, Any]
    ) -> EpisodeMetadata:
        """Metadata of a new episode; what is left empty comes from the plan's proposal.

        A request that gives an instruction of its own is taken as it is. Raises :class:`MetadataError`.
        """
        if not language.strip():
            proposal = self.next if not task or (self.next and self.next.task == task) else self._propose(task)
            if proposal is not None:
                language, task, category = proposal.language, proposal.task, category or proposal.category
                environment = {**proposal.environment, **environment}
        elif self.plan is not None and task in self.plan.tasks:
            category = category or self.plan.tasks[task].category
        return EpisodeMetadata(language, task, category, source or "teleop", environment)

    def _propose(self, task: str = "") -> Proposal | None:
        if self.plan is None or (task and task not in self.plan.tasks):
            return None
        tasks = {task: self.plan.tasks[task]} if task else self.plan.tasks
        return self.tally.propose(self.plan.model_copy(update={"tasks": tasks}))
