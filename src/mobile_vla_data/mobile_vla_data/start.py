"""Start commands and nodes: a Python module that is not installed is named in one line. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

#: pip's name of a module, where it differs.
_PIP_NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
}
#: Modules that plain `make setup` leaves out on a distribution, and the extra that they are in.
_EXTRAS = {"mujoco": "sim", "mcap": "rosbag"}
#: Modules that come with ROS 2, besides messages.
_OF_ROS = ("rclpy", "ament_index_python", "builtin_interfaces", "rcl_interfaces", "std_srvs")


def entry(module: str, needs: Sequence[str] = (), fault: Callable[[], str] = lambda: "") -> Callable[[], None]:
    """Return an entry point that runs ``main()`` of a module.

    ``needs`` names modules that it imports only while it works; they are looked for at the start. If one of them, or
    one that is imported at the start, is not installed, the entry point prints one line and exits with status 1. It
    does the same if ``fault`` returns a line: what is wrong with installed modules, and what to do.
    """

    def run() -> None:
        for name in needs:
            if not _is_installed(name):
                _refuse(_missing(name))
        if line := fault():
            _refuse(line)
        try:
            import_module(module).main()
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if not missing or _is_installed(missing):
                raise  # a fault of this project or of a library, not of the set-up
            _refuse(_missing(missing))

    return run


def how_to_install(module: str) -> str:
    """Return the advice for a module that is not installed."""
    if module in _OF_ROS or module.endswith("_msgs"):
        return "source a ROS 2 distribution and this workspace (. ./env.sh); after a change of messages: make setup"
    setup = f"make setup EXTRAS={_EXTRAS[module]}" if module in _EXTRAS else "make setup"
    return f"{setup}, or: python3 -m pip install {_PIP_NAMES.get(module, module)}"


def _is_installed(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def _missing(module: str) -> str:
    return f"the Python module '{module}' is not installed; {how_to_install(module)}"


def _refuse(line: str) -> NoReturn:
    print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    sys.exit(1)
