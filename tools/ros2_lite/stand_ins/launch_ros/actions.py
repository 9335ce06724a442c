"""Stand-in for ``launch_ros.actions``."""

from ros2_lite.launching.node import Node, PushRosNamespace
from ros2_lite.stand_in import refuser

__all__ = ["Node", "PushRosNamespace"]
__getattr__ = refuser(__name__)
