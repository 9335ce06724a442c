"""The simulated robot, the expert and the trials as ROS nodes."""
