"""Stand-in for ``launch_ros.parameter_descriptions``."""

from ros2_lite.launching.parameters import ParameterFile, ParameterValue
from ros2_lite.stand_in import refuser

__all__ = ["ParameterFile", "ParameterValue"]
__getattr__ = refuser(__name__)
