"""Trials of a policy, in the simulator and on the robot: rates with their interval, reasons of failure, the page."""
