"""Stand-in for ``launch.launch_description_sources``."""

from ros2_lite.launching.description import PythonLaunchDescriptionSource
from ros2_lite.stand_in import refuser

__all__ = ["PythonLaunchDescriptionSource"]
__getattr__ = refuser(__name__)
