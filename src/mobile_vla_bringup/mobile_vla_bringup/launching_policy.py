"""What inference.launch.py and policy.launch.py share: what to drive by, and how the network is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument

from mobile_vla_bringup.launching import BOOLEAN, switch, text, value

#: Of mobile_vla_policy, which stands above this package; test/test_launch.py holds them against its own.
BACKENDS = ("auto", "eager", "torchscript", "onnxruntime", "aoti")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
#: Arguments that come before config/inference.yaml where they are not empty.
OVERRIDES = ("device", "backend", "precision", "shadow", "trace")
#: All that are about the policy.
NAMES = ("checkpoint", "instruction", *OVERRIDES)
_IN_FORCE = "empty: what config/inference.yaml says"


def policy_arguments(required: str) -> list[DeclareLaunchArgument]:
    """:data:`NAMES`; ``required`` says when a checkpoint is."""
    return [
        DeclareLaunchArgument(
            "checkpoint", default_value="", description=f"folder of a trained policy, or hf:USER/NAME; {required}"
        ),
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
            description=f"what executes the network (docs/deploy.md); {_IN_FORCE}",
        ),
        DeclareLaunchArgument(
            "precision",
            default_value="",
            choices=["", *PRECISIONS],
            description=f"in what numbers it is executed; {_IN_FORCE}",
        ),
        DeclareLaunchArgument(
            "shadow",
            default_value="",
            choices=["", *BOOLEAN],
            description=f"true: predict and publish chunks, but command nothing; {_IN_FORCE}",
        ),
        DeclareLaunchArgument(
            "trace",
            default_value="",
            description=f"JSON file for a Chrome trace of every forward pass, written at the end; {_IN_FORCE}",
        ),
    ]


def overrides(context: Any) -> dict[str, Any]:
    """Parameters of policy_node out of the :data:`OVERRIDES` that are given."""
    return {name: switch(name) if name == "shadow" else text(name) for name in OVERRIDES if value(context, name)}


def require_policy(context: Any) -> None:
    """Raise RuntimeError, one line, unless the checkpoint is a folder or a hub name, and a trace can be written."""
    checkpoint = value(context, "checkpoint")
    if not checkpoint:
        raise RuntimeError("argument 'checkpoint' is missing: name a folder written by mobile-vla-policy train")
    # hf:user/name[@revision] is fetched by the policy node, which says so when it cannot.
    if not checkpoint.startswith("hf:") and not Path(checkpoint).expanduser().is_dir():
        raise RuntimeError(f"checkpoint '{checkpoint}' is no folder: name one written by mobile-vla-policy train")
    trace = value(context, "trace")
    if trace and (Path(trace).expanduser().is_dir() or not Path(trace).expanduser().parent.is_dir()):
        raise RuntimeError(f"trace '{trace}' cannot be written: name a file in a folder that exists")


def refuse_policy(context: Any) -> None:
    """Raise RuntimeError, one line, if an argument is about a policy that does not run here."""
    for name in NAMES:
        if value(context, name):
            raise RuntimeError(f"inference_host:=remote starts no policy here: give {name} to policy.launch.py there")
