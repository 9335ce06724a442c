"""The collection plan for the recorder: the next task, defaults for a request, progress of the collection.

With a policy running, the policy determines the task: an episode has the instruction that the policy follows.
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
    """Counts the dataset folder once, counts each new episode, and proposes the next task if there is a plan."""

    def __init__(self, dataset: Path, plan_file: Path | None, source: str = "teleop") -> None:
        """Read the plan and count. ``plan_file`` is copied into a folder without one; None uses the folder's, if any.

        ``source`` is the default source of episodes. With ``policy``, call :meth:`follow`.

        Raises:
            PlanError: a plan is missing or wrong.
        """
        dataset.mkdir(parents=True, exist_ok=True)
        self.plan = CollectionPlan.ensure(dataset, plan_file) if plan_file else CollectionPlan.of_dataset(dataset)
        self.tally = Tally.of(dataset)
        self._source, self._dataset = source, dataset
        self.next = None if source == "policy" else self._propose()

    def add(self, path: Path) -> None:
        """Count one more committed episode."""
        self.tally.add(path)
        if self._source != "policy":
            self.next = self._propose()

    def recount(self) -> None:
        """Count what was relabelled, trimmed, deleted or restored since, for example on the web page."""
        if self.tally.follow(self._dataset) and self._source != "policy":
            self.next = self._propose()

    def follow(self, instruction: str) -> None:
        """Note the instruction that the policy follows; empty if it follows none."""
        self.next = self._planned(instruction) if instruction else None

    @property
    def tasks(self) -> list[TaskProgress]:
        """Progress of every task."""
        return self.tally.tasks(self.plan)

    def fill(
        self, language: str, task: str, category: str, source: str, environment: Mapping[str, Any]
    ) -> EpisodeMetadata:
        """Return the metadata of a new episode; empty fields come from the plan's proposal or from the policy.

        A request with an instruction is used unchanged. Raises :class:`MetadataError`.
        """
        source = source or self._source
        if not language.strip() and source == self._source == "policy":
            followed = self.next
            if followed is None:
                raise MetadataError(
                    "language is empty, and the policy follows no instruction; give an instruction to one of them"
                )
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
        """Return the instruction with the planned task that has this wording, and the environment in it."""
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
