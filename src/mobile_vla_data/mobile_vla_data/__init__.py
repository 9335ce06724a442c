"""The ROS-free core: contract, observation, action, episode files, validation, splits and statistics."""

__version__ = "0.1.0"
