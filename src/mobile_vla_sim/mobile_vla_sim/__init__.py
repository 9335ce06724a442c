"""The simulated flat: MuJoCo world, tasks, scripted expert, headless collection, closed-loop evaluation, nodes."""

import os
from importlib.metadata import version

__version__ = version("mobile_vla_sim")

# MuJoCo chooses its rendering back end when it is first imported; without a display only EGL works.
os.environ.setdefault("MUJOCO_GL", "egl")
