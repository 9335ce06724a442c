"""Keyboard and joystick teleoperation."""
