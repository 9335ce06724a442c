"""The ROS side of policy_node: its parameters, its action server, its status. Imports rclpy."""
