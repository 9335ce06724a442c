"""Stand-in for the package ``launch``: on the path only inside ros2_lite's ``ros2 launch``."""

from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import Action, LaunchDescription, LaunchDescriptionEntity
from ros2_lite.launching.substitutions import Substitution
from ros2_lite.stand_in import refuser

from . import actions, conditions, launch_description_sources, substitutions

__all__ = [
    "Action",
    "LaunchContext",
    "LaunchDescription",
    "LaunchDescriptionEntity",
    "Substitution",
    "actions",
    "conditions",
    "launch_description_sources",
    "substitutions",
]
__getattr__ = refuser(__name__)
