"""The ROS-free core: contract, observation, action, episode files, validation, splits and statistics."""

from importlib.metadata import version

__version__ = version("mobile_vla_data")
