"""A small stand-in for the ros2 command, used only where the real one is missing: ROS 2 from wheels has none."""
