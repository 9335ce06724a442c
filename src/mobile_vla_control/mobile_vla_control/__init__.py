"""The command gate, the only way to the wheels and the gripper: priority, limits, watchdog, stop."""
