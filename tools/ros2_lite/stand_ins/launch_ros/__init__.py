"""Stand-in for the package ``launch_ros``: on the path only inside ros2_lite's ``ros2 launch``."""

from ros2_lite.stand_in import refuser

from . import actions, parameter_descriptions, substitutions

__all__ = ["actions", "parameter_descriptions", "substitutions"]
__getattr__ = refuser(__name__)
