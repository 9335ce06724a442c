"""Stand-in for ``launch.conditions``."""

from ros2_lite.launching.conditions import IfCondition, UnlessCondition
from ros2_lite.stand_in import refuser

__all__ = ["IfCondition", "UnlessCondition"]
__getattr__ = refuser(__name__)
