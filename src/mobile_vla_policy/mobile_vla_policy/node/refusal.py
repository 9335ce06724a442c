"""Why something cannot be asked of a policy, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_policy.runtime.protocol import DrivingPolicy
from mobile_vla_policy.runtime.settings import SETTINGS, horizon_problem

BUSY = "a policy/execute goal is running; cancel it first"


def problem_of(policy: DrivingPolicy | PolicyDriver, instruction: str) -> str:
    """Why an instruction cannot be followed; empty when it can. None at all can always be."""
    return policy.check_instruction(instruction) if instruction else ""


def require_fit(policy: DrivingPolicy, settings: Mapping[str, Any]) -> None:
    """ValueError naming the parameter, of all that can be set, that this policy cannot do."""
    if problem := problem_of(policy, settings["instruction"]):
        raise ValueError(f"parameter 'instruction': {problem}")
    if problem := horizon_problem(settings["horizon"], policy.horizon):
        raise ValueError(f"parameter {problem}")


def why_not_now(changes: Mapping[str, Any], policy: DrivingPolicy | None, *, loading: bool, busy: bool) -> str:
    """Why well-formed changes of parameters cannot be made; empty when they can.

    ``policy`` is the one that is loaded; ``busy`` says that a policy/execute goal is running.
    """
    fixed = [name for name in changes if not SETTINGS[name].while_loaded]
    if fixed and (policy is not None or loading):
        return f"{fixed[0]} cannot change while a checkpoint is loaded; deactivate and clean up first"
    if policy is None:
        return ""
    if "instruction" in changes and busy:
        return BUSY
    problem = problem_of(policy, changes.get("instruction", ""))
    return problem or horizon_problem(changes.get("horizon", 0), policy.horizon)
