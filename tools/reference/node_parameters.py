"""The page of the node parameters: every node is built, and its declarations are listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reference.markdown import code, table
from reference.packages import Executable, executables

INTRODUCTION = """# Node parameters

Set them in `config/*.yaml`, or with `-p NAME:=VALUE` after `ros2 run PACKAGE NODE --ros-args`. The launch files pass
`config/collect.yaml`, `config/inference.yaml` and `config/sim.yaml`, which give values with their reasons and override
the defaults below. A value outside its range stops the node with one line. Every node also has `use_sim_time`.
"""
#: Parameters without which a node does not start. A file that exists is enough for the node to be built.
REQUIRED = {
    "camera_node": {"source": "docs/images"},
    "recorder_node": {"dataset": "{folder}"},
    "replay_node": {"episode": "{folder}/robot.yaml"},
    "gripper_adapter_node": {"contract": "{folder}/robot.yaml"},
}
#: Added to config/robot.yaml in ``{folder}/robot.yaml``.
_DRIVER = "\ngripper_driver: {command: {type: float, name: hand}}\n"


def page(root: Path) -> str:
    """Return the page.

    Raises:
        RuntimeError: a node cannot be built; the message holds its error line.
    """
    nodes = [executable for executable in executables(root) if executable.name.endswith("_node")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sections = list(pool.map(lambda node: _section(root, node), nodes))
    return "\n".join([INTRODUCTION, *sections])


def _section(root: Path, node: Executable) -> str:
    rows = []
    for parameter in _declared(root, node):
        default = parameter["default"]
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        rows.append([code(parameter["name"]), code(shown) or "empty", parameter["allowed"], parameter["description"]])
    parameters = table(["parameter", "default", "allowed", "meaning"], rows)
    return f"## {node.name}\n\nPackage `{node.package}`.\n\n{parameters}"


def _declared(root: Path, node: Executable) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "robot.yaml").write_text((root / "config" / "robot.yaml").read_text() + _DRIVER)
        required = {"contract": "config/robot.yaml", **REQUIRED.get(node.name, {})}
        pairs = [f"{name}:={value.format(folder=folder)}" for name, value in required.items()]
        arguments = ["--ros-args", *(word for pair in pairs for word in ("-p", pair))]
        # No other robot may see this node: two gates or two policies would stop it.
        apart = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_LOCALHOST_ONLY": "1", "ROS_DOMAIN_ID": "101"}
        environment = {**os.environ, **apart, "HOME": folder, "ROS_LOG_DIR": folder, "PYTHONPATH": _path(root)}
        with _terminal() as terminal:
            done = subprocess.run(
                [sys.executable, "-m", "reference.declared", node.module, *arguments],
                cwd=root,
                env={name: value for name, value in environment.items() if not name.startswith("MOBILE_VLA_")},
                stdin=terminal,
                capture_output=True,
                text=True,
                timeout=120,
            )
    _, marker, document = done.stdout.rpartition("\nDECLARED ")
    if not marker:
        raise RuntimeError(
            f"{node.name} cannot be built: {done.stderr.strip()[-500:]}; "
            "name the parameters it needs in REQUIRED of tools/reference/node_parameters.py"
        )
    declared: list[dict[str, Any]] = json.loads(document)
    return declared


@contextmanager
def _terminal() -> Iterator[int]:
    """A terminal for stdin, which the keyboard node needs."""
    ours, theirs = os.openpty()
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def _path(root: Path) -> str:
    return os.pathsep.join([str(root / "tools"), os.environ.get("PYTHONPATH", "")])
