"""The one way to the wheels and the gripper: priority, limits, watchdog, stop."""
