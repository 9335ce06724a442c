"""The page of the launch arguments, from ``ros2 launch --show-args``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from reference.markdown import code, table

FILES = {
    "collect.launch.py": "Collect episodes: robot, operator, recorder.",
    "inference.launch.py": "Drive with a trained policy: robot, policy, and an operator who can take over.",
    "policy.launch.py": "The policy alone, on a machine other than the robot.",
    "replay.launch.py": "Replay a recorded episode: its inputs, or its actions through the gate.",
    "sim.launch.py": "The simulated robot alone.",
}
INTRODUCTION = """# Launch arguments

`ros2 launch mobile_vla_bringup FILE NAME:=VALUE ...` starts a launch file; `--show-args` lists its arguments.
What is not a launch argument is a [node parameter](parameters.md).
"""
#: One argument as both the real ros2 and ros2_lite print it.
_ARGUMENT = re.compile(r"^    '(?P<name>\w+)':\n(?P<text>.*?)\n        \((?P<default>.*?)\)$", re.DOTALL | re.MULTILINE)
_CHOICES = re.compile(r"\.? Valid choices are: \[(?P<choices>.*?)\]")


def page(root: Path) -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *(_file(root, name, purpose) for name, purpose in FILES.items())])


def _file(root: Path, name: str, purpose: str) -> str:
    command = ["ros2", "launch", str(root / "launch" / name), "--show-args"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = []
    for argument in _ARGUMENT.finditer(shown):
        text = " ".join(argument["text"].split())
        choices = _CHOICES.search(text)
        allowed = ", ".join(code(choice) for choice in re.findall(r"'(\w+)'", choices["choices"])) if choices else ""
        rows.append([code(argument["name"]), _default(argument["default"]), _CHOICES.sub("", text), allowed])
    return f"## {name}\n\n{purpose}\n\n{table(['argument', 'default', 'meaning', 'choices'], rows)}"


def _default(shown: str) -> str:
    value = shown.removeprefix("default: ")
    if file := re.search(r"'([\w-]+\.yaml)'", value):
        return code(f"config/{file[1]}")
    if value == "no default":
        return "required"
    return code(value.strip("'")) or "empty"
