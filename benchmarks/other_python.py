"""Run a script in another environment's Python: LeRobot, robomimic and linters need one of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

#: What ROS's Python sets for its children must not reach another environment's Python.
_OURS = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what belongs to its own Python; one thread, and no hub."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run_json(python: str, script: Path, *arguments: object) -> dict[str, Any]:
    """Run a script in another Python; return the JSON document on its last line.

    Raises:
        CalledProcessError: it failed; ``stderr`` says why.
    """
    command = [python, str(script), *map(str, arguments)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))
