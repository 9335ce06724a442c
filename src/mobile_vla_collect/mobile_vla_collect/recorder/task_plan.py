"""The recorder's view of the collection plan: what is next, what a request leaves open, how far the collection is.

Beside a policy it is the policy that says what is next: an episode of its driving has the instruction it follows.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobile_vla_data.dataset.plan import CollectionPlan, wording_of
from mobile_vla_data.dataset.progress import Proposal, Tally, TaskProgress
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError


class TaskPlan:
    """Counts the dataset folder once, is told of each new episode, and proposes by the plan if there is one."""

    def __init__(self, dataset: Path, plan_file: Path | None, source: str = "teleop") -> None:
        """``plan_file`` is copied into a folder that has no plan yet; None uses the folder's own, if any.

        ``source`` is who drives in an episode whose request does not say. With ``policy``, call :meth:`follow`.

        Raises:
            PlanError: a plan is missing or wrong.
        """
        dataset.mkdir(parents=True, exist_ok=True)
        self.plan = CollectionPlan.ensure(dataset, plan_file) if plan_file else CollectionPlan.of_dataset(dataset)
        self.tally = Tally.of(dataset)
        self._source = source
        self.next = None if source == "policy" else self._propose()

    def add(self, path: Path) -> None:
        """Count one more committed episode."""
        self.tally.add(path)
        if self._source != "policy":
            self.next = self._propose()

    def follow(self, instruction: str) -> None:
        """Take note of what the policy follows; empty when nothing."""
        self.next = self._planned(instruction) if instruction else None

    @property
    def tasks(self) -> list[TaskProgress]:
        """How far every task is."""
        return self.tally.tasks(self.plan)

    def fill(
        self, language: str, task: str, category: str, source: str, environment: Mapping[str, Any]
    ) -> EpisodeMetadata:
        """Metadata of a new episode; what is left empty comes from the plan's proposal, or is what the policy follows.

        A request that gives an instruction of its own is taken as it is. Raises :class:`MetadataError`.
        """
        source = source or self._source
        if not language.strip() and source == self._source == "policy":
            followed = self.next
            if followed is None:
                raise MetadataError("language is empty, and the policy follows no instruction; give either of them one")
            language, task, category = followed.language, task or followed.task, category or followed.category
            environment = {**followed.environment, **environment}
        elif not language.strip():
            proposal = self.next if not task or (self.next and self.next.task == task) else self._propose(task)
            if proposal is not None:
                language, task, category = proposal.language, proposal.task, category or proposal.category
                environment = {**proposal.environment, **environment}
        elif self.plan is not None and task in self.plan.tasks:
            category = category or self.plan.tasks[task].category
        return EpisodeMetadata(language, task, category, source, environment)

    def _planned(self, instruction: str) -> Proposal:
        """The instruction with the planned task that has it among its wordings, and the environment that it names."""
        for name, task in self.plan.tasks.items() if self.plan else ():
            for environment in self.plan.environments(name) if self.plan else ():
                if (wording := wording_of(instruction, task, environment)) is not None:
                    named = {field for _, field, _, _ in string.Formatter().parse(wording) if field} | task.given.keys()
                    known = {key: value for key, value in environment.items() if key in named}
                    return Proposal(task.category, name, instruction, known)
        return Proposal("", "", instruction, {})

    def _propose(self, task: str = "") -> Proposal | None:
        if self.plan is None or (task and task not in self.plan.tasks):
            return None
        tasks = {task: self.plan.tasks[task]} if task else self.plan.tasks
        return self.tally.propose(self.plan.model_copy(update={"tasks": tasks}))
