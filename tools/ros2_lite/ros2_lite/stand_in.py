"""How the stand-in packages refuse what they do not have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from ros2_lite.errors import refuse


def refuser(module: str) -> Callable[[str], object]:
    """Return a module ``__getattr__`` that names what is missing."""

    def missing(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise refuse(f"{module}.{name}")

    return missing


class RefuseModules:
    """Import hook, last in line: modules of the two packages that do not exist here are refused by name."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for a module of ``launch`` or ``launch_ros``; any other is somebody else's business."""
        if name.split(".")[0] in ("launch", "launch_ros", "launch_xml", "launch_yaml", "launch_testing"):
            raise refuse(name)
        return None

    def install(self) -> None:
        """Append the hook."""
        sys.meta_path.append(self)
