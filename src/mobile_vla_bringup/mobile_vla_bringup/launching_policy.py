"""Shared by inference.launch.py and policy.launch.py: arguments about the policy and how its network is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument

from mobile_vla_bringup.launching import BOOLEAN, path_argument, switch, text, value
from mobile_vla_policy.engine.choices import BACKENDS, PRECISIONS

#: Arguments that override config/inference.yaml unless they are empty.
OVERRIDES = ("device", "backend", "precision", "shadow", "trace")
#: Every argument about the policy.
NAMES = ("checkpoint", "instruction", *OVERRIDES)
_IN_FORCE = "empty: the value in config/inference.yaml"


def policy_arguments(required: str) -> list[Any]:
    """Declare :data:`NAMES`; ``required`` says when a checkpoint is."""
    return [
        *path_argument("checkpoint", description=f"folder of a trained policy, or hf:USER/NAME; {required}"),
        DeclareLaunchArgument(
            "instruction", default_value="", description="what to do; empty: wait for policy/set_instruction or a goal"
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="where the model runs: auto (the GPU where there is one), cpu, cuda or cuda:N; " + _IN_FORCE,
        ),
        DeclareLaunchArgument(
            "backend",
            default_value="",
            choices=["", *BACKENDS],
            description=f"runtime of the network (docs/how-to/deploy.md); {_IN_FORCE}",
        ),
        DeclareLaunchArgument(
            "precision",
            default_value="",
            choices=["", *PRECISIONS],
            description=f"numeric precision of the network; {_IN_FORCE}",
        ),
        DeclareLaunchArgument(
            "shadow",
            default_value="",
            choices=["", *BOOLEAN],
            description=f"true: predict and publish chunks, but send no commands; {_IN_FORCE}",
        ),
        *path_argument(
            "trace", description=f"JSON file for a Chrome trace of every forward pass, written at the end; {_IN_FORCE}"
        ),
    ]


def overrides(context: Any) -> dict[str, Any]:
    """Return the parameters of policy_node for those :data:`OVERRIDES` that are given."""
    return {name: switch(name) if name == "shadow" else text(name) for name in OVERRIDES if value(context, name)}


def require_policy(context: Any) -> None:
    """Raise RuntimeError, one line, unless the checkpoint is a folder or a hub name, and a trace can be written."""
    checkpoint = value(context, "checkpoint")
    if not checkpoint:
        raise RuntimeError("argument 'checkpoint' is missing: name a folder written by mobile-vla-policy train")
    # policy_node fetches hf:user/name[@revision] itself and reports when it cannot.
    if not checkpoint.startswith("hf:") and not Path(checkpoint).is_dir():
        raise RuntimeError(f"checkpoint '{checkpoint}' is not a folder: name one written by mobile-vla-policy train")
    trace = value(context, "trace")
    if trace and (Path(trace).is_dir() or not Path(trace).parent.is_dir()):
        raise RuntimeError(f"trace '{trace}' cannot be written: name a file in a folder that exists")


def refuse_policy(context: Any) -> None:
    """Raise RuntimeError, one line, if an argument configures a policy although none runs here."""
    for name in NAMES:
        if value(context, name):
            raise RuntimeError(f"inference_host:=remote starts no policy here: give {name} to policy.launch.py there")
