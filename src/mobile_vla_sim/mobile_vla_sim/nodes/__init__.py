"""The simulated robot, the expert and the examiner as ROS nodes."""
