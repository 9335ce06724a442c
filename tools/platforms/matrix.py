"""The platforms whose requirements must resolve, and the constraint files of tested versions."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"


def _load_plan() -> ModuleType:
    """Load tools/setup/plan.py, which is a script of the set-up and in no package."""
    spec = importlib.util.spec_from_file_location("setup_plan", ROOT / "tools/setup/plan.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


plan = _load_plan()


@dataclass(frozen=True)
class Platform:
    """One machine that ``make setup`` must work on."""

    name: str
    python: str
    ros: str
    """As for tools/setup/plan.py; ``none`` for a training server without ROS."""
    machine: str = "x86_64"
    brought: Mapping[str, str] = field(default_factory=dict)
    """Packages that the platform brings, and their versions."""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """One file of requirements/constraints."""

    name: str
    python: str
    numpy: str
    """What it is made for: numpy 1 where ROS was compiled against it, and the numpy that ROS wheels ask for."""


LOCKS = (
    Lock("3.10", "3.10", "numpy<2"),
    Lock("3.11", "3.11", "numpy==2.2.6"),
    Lock("3.12", "3.12", "numpy==2.2.6"),
    Lock("3.12-numpy1", "3.12", "numpy<2"),
    Lock("3.13", "3.13", "numpy==2.2.6"),
    Lock("3.14", "3.14", "numpy<2.4"),
)

#: apt's Python packages of ros-DISTRIBUTION-ros-base and python3-colcon-common-extensions.
_JAMMY = {"numpy": "1.21.5", "colcon-core": "0.18.3"}
_NOBLE = {"numpy": "1.26.4", "colcon-core": "0.18.3"}
_RESOLUTE = {"numpy": "2.3.5", "colcon-core": "0.20.1"}
_JETPACK_6 = {"numpy": "1.26.4", "opencv-python-headless": "4.11.0", "colcon-core": "0.18.3"}
_ALL: tuple[str, ...] = plan.EXTRAS


def _platforms() -> list[Platform]:
    found = [
        Platform(f"{ros} wheels, Python {python}", python, f"wheels-{ros}", extras=_ALL)
        for ros in ("jazzy", "kilted")
        for python in ("3.11", "3.12", "3.13")
    ]
    for machine in ("x86_64", "aarch64"):
        found += [
            Platform(f"Humble, Ubuntu 22.04, {machine}", "3.10", "/opt/ros/humble", machine, _JAMMY, _ALL),
            Platform(f"Jazzy, Ubuntu 24.04, {machine}", "3.12", "/opt/ros/jazzy", machine, _NOBLE, _ALL),
            Platform(f"Lyrical, Ubuntu 26.04, {machine}", "3.14", "/opt/ros/lyrical", machine, _RESOLUTE, _ALL),
        ]
        found += [
            Platform(f"no ROS, Python {python}, {machine}", python, "none", machine, extras=_ALL)
            for python in ("3.10", "3.11", "3.12", "3.13", "3.14")
        ]
    found += [
        Platform(f"JetPack 6, torch {torch}", "3.10", "/opt/ros/humble", "aarch64", _JETPACK_6 | {"torch": torch})
        for torch in ("2.5.0", "2.6.0", "2.7.0", "2.8.0")
    ]
    jetpack_7 = _NOBLE | {"torch": "2.8.0"}
    return [*found, Platform("JetPack 7, torch 2.8.0", "3.12", "/opt/ros/jazzy", "aarch64", jetpack_7)]


PLATFORMS = tuple(_platforms())
