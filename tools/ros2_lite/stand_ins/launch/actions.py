"""Stand-in for ``launch.actions``."""

from ros2_lite.launching.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
)
from ros2_lite.stand_in import refuser

__all__ = [
    "DeclareLaunchArgument",
    "GroupAction",
    "IncludeLaunchDescription",
    "LogInfo",
    "OpaqueFunction",
    "SetEnvironmentVariable",
    "SetLaunchConfiguration",
    "Shutdown",
]
__getattr__ = refuser(__name__)
