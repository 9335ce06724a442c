"""Stand-in for ``launch_ros.substitutions``."""

from ros2_lite.launching.substitutions import FindPackagePrefix, FindPackageShare
from ros2_lite.stand_in import refuser

__all__ = ["FindPackagePrefix", "FindPackageShare"]
__getattr__ = refuser(__name__)
