"""The simulated flat: MuJoCo world, tasks, scripted expert, headless collection, closed-loop evaluation, nodes."""

import os

__version__ = "0.1.0"

# MuJoCo chooses its rendering back end when it is first imported; without a display only EGL works.
os.environ.setdefault("MUJOCO_GL", "egl")
