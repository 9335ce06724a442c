"""The packages ``launch`` and ``launch_ros`` as far as they exist here; any other name is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from ros2_lite.launching import actions, context, description, node, parameters, substitutions

MODULES: dict[str, tuple[type, ...]] = {
    "launch": (context.LaunchContext, description.LaunchDescription),
    "launch.actions": (
        actions.DeclareLaunchArgument,
        actions.GroupAction,
        actions.IncludeLaunchDescription,
        actions.LogInfo,
        actions.OpaqueFunction,
        actions.SetEnvironmentVariable,
        actions.Shutdown,
    ),
    "launch.launch_description_sources": (description.PythonLaunchDescriptionSource,),
    "launch.substitutions": (substitutions.LaunchConfiguration, substitutions.PathJoinSubstitution),
    "launch_ros": (),
    "launch_ros.actions": (node.Node, node.PushRosNamespace, node.SetParameter, node.SetRemap),
    "launch_ros.parameter_descriptions": (parameters.ParameterValue,),
    "launch_ros.substitutions": (substitutions.FindPackageShare,),
}


def install() -> None:
    """Make the packages importable, and refuse their other modules."""
    for name, members in MODULES.items():
        module = ModuleType(name, f"Stand-in for {name}.")
        module.__path__ = []
        module.__dict__.update({member.__name__: member for member in members}, __getattr__=_refuser(name))
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    sys.meta_path.append(_Refuse())


def _refusal(name: str) -> ImportError:
    return ImportError(
        f"ros2_lite does not implement {name}; use a ROS 2 distribution's ros2 launch, or what "
        "tools/ros2_lite/README.md lists"
    )


def _refuser(module: str) -> Callable[[str], object]:
    def missing(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _refusal(f"{module}.{name}")

    return missing


class _Refuse:
    """Import hook, last in line: refuses the modules of these packages that do not exist here."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for a module of ``launch`` or its companions."""
        if name.split(".")[0] in ("launch", "launch_ros", "launch_xml", "launch_yaml", "launch_testing"):
            raise _refusal(name)
        return None
