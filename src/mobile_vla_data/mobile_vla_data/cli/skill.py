"""Measures of skill as tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mobile_vla_data.cli.output import print_table
from mobile_vla_data.dataset.skill import Skill, by_operator_and_day

_MEASURES = ("smoothness", "pauses", "chatter", "path_ratio", "time_to_success_s")


def print_skill(skills: Sequence[Skill]) -> None:
    """Print the measures per episode, and per operator and day."""
    rows = [
        (skill.episode_id, skill.task, skill.outcome, *(getattr(skill, name) for name in _MEASURES)) for skill in skills
    ]
    print_table("demonstrations", ("episode", "task", "outcome", *_MEASURES), rows)
    groups = [
        (group.operator, group.day, group.episodes, group.success_share, *(getattr(group, name) for name in _MEASURES))
        for group in by_operator_and_day(skills)
    ]
    print_table("medians per operator and day", ("operator", "day", "episodes", "success", *_MEASURES), groups)


def skill_document(skills: Sequence[Skill]) -> dict[str, Any]:
    """Return the same, ready for JSON."""
    groups = [asdict(group) for group in by_operator_and_day(skills)]
    for group in groups:
        if math.isnan(group["success_share"]):
            group["success_share"] = None
    episodes = [{**asdict(skill), "time_to_success_s": skill.time_to_success_s} for skill in skills]
    return {"episodes": episodes, "groups": groups}
