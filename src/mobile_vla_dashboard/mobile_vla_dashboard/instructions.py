"""Instructions that the collection plan knows, for the buttons of the Run view. No rclpy, no web framework."""

from __future__ import annotations

from typing import Any

from mobile_vla_data.dataset.plan import CollectionPlan, put_in

#: Of one task; "place object" alone has more combinations than anybody wants as buttons.
MOST = 8


def known_instructions(plan: CollectionPlan | None) -> list[dict[str, Any]]:
    """Return for each task its category, its name, and its first wording in different environments."""
    if plan is None:
        return []
    return [
        {
            "category": task.category,
            "task": name,
            "instructions": [*dict.fromkeys(put_in(task.instructions[0], each) for each in plan.environments(name))][
                :MOST
            ],
        }
        for name, task in plan.tasks.items()
    ]
