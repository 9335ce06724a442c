"""The ROS side of the policy: policy_node with its parameters, services, action server and status. Imports rclpy."""
