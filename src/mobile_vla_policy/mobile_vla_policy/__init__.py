"""The policy: what the robot sees and is told becomes what it does next. Model, training, checkpoint and node."""

from importlib.metadata import version

__version__ = version("mobile_vla_policy")
