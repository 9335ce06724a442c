"""What goes wrong in words for the user."""


class UserError(RuntimeError):
    """Ends the command with status 1 and this one line on stderr."""


class NotImplementedHereError(ImportError):
    """A launch file asks for a part of the launch API that the stand-in does not have."""


def refuse(name: str) -> NotImplementedHereError:
    """Say that ``name`` of the launch API is not implemented, and what to do about it."""
    return NotImplementedHereError(
        f"ros2_lite does not implement {name}; see tools/ros2_lite/README.md for what it does, "
        "or use a ROS 2 distribution's ros2 launch"
    )
