"""Stand-in for ``launch.substitutions``."""

from ros2_lite.launching.substitutions import (
    EnvironmentVariable,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
)
from ros2_lite.stand_in import refuser

__all__ = [
    "EnvironmentVariable",
    "EqualsSubstitution",
    "LaunchConfiguration",
    "NotEqualsSubstitution",
    "PathJoinSubstitution",
    "PythonExpression",
    "TextSubstitution",
]
__getattr__ = refuser(__name__)
