"""The policy: what the robot sees and is told becomes what it does next. Model, training, checkpoint and node."""

__version__ = "0.1.0"
