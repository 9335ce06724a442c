"""The parameters of the policy node that can be changed while it runs: their meaning, and why a value is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobile_vla_data.instruction import normalise_instruction
from mobile_vla_policy.engine.choices import EngineOptions
from mobile_vla_policy.hub import is_hub_name
from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_policy.runtime.scheduler import SchedulerOptions

BUSY = "a policy/execute goal is running; cancel it first"


@dataclass(frozen=True)
class Setting:
    """One parameter."""

    default: Any
    description: str
    while_loaded: bool
    """True if it may change while a checkpoint is loaded."""


SETTINGS: dict[str, Setting] = {
    "checkpoint": Setting("", "folder of a checkpoint or an export, or hf:USER/NAME", while_loaded=False),
    "device": Setting("auto", "device for the policy: auto, cpu, cuda or cuda:N", while_loaded=False),
    "backend": Setting("auto", "engine: auto, eager, torchscript, onnxruntime or aoti", while_loaded=False),
    "precision": Setting("auto", "numeric precision: auto, fp32, bf16, fp16 or int8", while_loaded=False),
    "compile": Setting(False, "with backend eager: compile the network at the first start", while_loaded=False),
    "instruction": Setting("", "instruction to follow after activation; empty: wait for one", while_loaded=True),
    "shadow": Setting(False, "predict and publish chunks without commanding the robot", while_loaded=True),
    "horizon": Setting(0, "actions used of each chunk; 0: all", while_loaded=True),
    "blend": Setting(0.3, "weight that an older chunk keeps per period; 0: newest only", while_loaded=True),
    "replan_threshold": Setting(0, "predict again with this many actions left; 0: all the time", while_loaded=True),
    "max_stretch": Setting(3.0, "a chunk may be driven this much slower to last until the next", while_loaded=True),
}


def clean(name: str, value: Any) -> Any:
    """Convert a parameter's value to the type of its default, if that loses no information.

    Raises:
        ValueError: it is of another type, or out of range; one line naming parameter, value and what is allowed.
    """
    wanted = type(SETTINGS[name].default)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is str and type(value) in (int, float):
        value = str(value)  # a launch file passes device:=0 as a number
    if type(value) is not wanted:
        kinds = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
        raise ValueError(f"{name} is {value!r}; it must be {kinds[wanted]}")
    if name == "instruction":
        return normalise_instruction(value)
    if name == "checkpoint" and value and not is_hub_name(value):
        return os.path.abspath(os.path.expanduser(value))  # in the status, a path that others can follow
    if name in EngineOptions.__dataclass_fields__ and (problem := EngineOptions(**{name: value}).problem()):
        raise ValueError(problem)
    if name in SchedulerOptions.__dataclass_fields__ and (problem := SchedulerOptions(**{name: value}).problem()):
        raise ValueError(problem)
    return value


def require_fit(policy: DrivingPolicy, values: Mapping[str, Any]) -> None:
    """Raise ValueError naming a parameter whose value this policy cannot fulfil."""
    if problem := instruction_problem(policy, values["instruction"]):
        raise ValueError(f"parameter 'instruction': {problem}")
    if problem := _horizon_problem(values["horizon"], policy.horizon):
        raise ValueError(f"parameter {problem}")


def why_not_now(changes: Mapping[str, Any], policy: DrivingPolicy | None, *, loading: bool, busy: bool) -> str:
    """Return why well-formed changes of parameters cannot be made now, in one line; empty if they can.

    ``policy`` is the loaded one; ``busy`` says that a policy/execute goal is running.
    """
    fixed = [name for name in changes if not SETTINGS[name].while_loaded]
    if fixed and (policy is not None or loading):
        return f"{fixed[0]} cannot change while a checkpoint is loaded; deactivate and clean up first"
    if policy is None:
        return ""
    if "instruction" in changes and busy:
        return BUSY
    problem = instruction_problem(policy, changes.get("instruction", ""))
    return problem or _horizon_problem(changes.get("horizon", 0), policy.horizon)


def instruction_problem(policy: DrivingPolicy | PolicyDriver, instruction: str) -> str:
    """Return why an instruction cannot be followed, in one line; empty if it can. An empty instruction always can."""
    return policy.check_instruction(instruction) if instruction else ""


def _horizon_problem(horizon: int, actions: int) -> str:
    """Return why a policy that predicts so many actions cannot use ``horizon`` of them; empty if it can."""
    if horizon <= actions:
        return ""
    return f"horizon is {horizon}; the loaded policy predicts {actions} actions; set it to 1 .. {actions}, or 0 for all"


def require_checkpoint(value: str) -> Path:
    """Return the checkpoint's folder, or hf:user/name of the hub. Raises ValueError if it is unset or missing."""
    if not value:
        raise ValueError("parameter 'checkpoint' is empty; set it to a folder made by mobile-vla-policy train")
    path = Path(value).expanduser()
    if is_hub_name(value):
        return Path(value)
    if not path.is_dir():
        raise ValueError(f"{path}: no such checkpoint folder; train one with mobile-vla-policy train")
    return path
