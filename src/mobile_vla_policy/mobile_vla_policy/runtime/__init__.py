"""Driving with a policy, without ROS: the inference thread, the chunk scheduler, and what ties them together."""
