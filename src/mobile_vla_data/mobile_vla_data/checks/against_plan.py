"""Checks episodes against the collection plan in the dataset folder, if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.whole import EpisodeSummary
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.plan import CollectionPlan, PlanError, wording_of
from mobile_vla_data.episode import schema


def check_plan(dataset: Dataset, summaries: Sequence[EpisodeSummary]) -> list[Finding]:
    """Findings about episodes that do not match the plan."""
    path = str(dataset.path / schema.PLAN_FILE)
    try:
        plan = CollectionPlan.of_dataset(dataset.path)
    except PlanError as error:
        message = str(error).removeprefix(f"{path}: ")
        return [
            Finding("plan-invalid", "error", path, message, "correct it; config/collection_plan.yaml is an example")
        ]
    if plan is None:
        return []
    return [finding for summary in summaries for finding in _check(plan, summary)]


def _check(plan: CollectionPlan, summary: EpisodeSummary) -> Iterator[Finding]:
    relabel = f"set it with 'mobile-vla-data relabel {summary.file}', or change the plan"
    task = plan.tasks.get(summary.task)
    if task is None:
        message = f"task '{summary.task}' is not in the plan"
        yield Finding("plan-task", "warning", summary.file, message, relabel)
        return
    if task.category != summary.category:
        message = f"category is '{summary.category}', the plan has '{summary.task}' in '{task.category}'"
        yield Finding("plan-category", "error", summary.file, message, relabel)
    environment = {name: str(value) for name, value in summary.environment.items()}
    if wording_of(summary.language, task, {**task.given, **environment}) is None:
        message = f"'{summary.language}' is not one of the plan's wordings of '{summary.task}'"
        yield Finding("plan-wording", "warning", summary.file, message, relabel)
    for name, value in environment.items():
        if name in plan.environment and value not in plan.environment[name]:
            message = f"environment {name} is '{value}', the plan has {', '.join(plan.environment[name])}"
            yield Finding("plan-environment", "warning", summary.file, message, relabel)
    if not plan.steps.min <= summary.num_steps <= plan.steps.max:
        message = f"has {summary.num_steps} steps, the plan asks for {plan.steps.min} to {plan.steps.max}"
        advice = "cut it with 'mobile-vla-data trim', or record it again"
        yield Finding("plan-steps", "warning", summary.file, message, advice)
