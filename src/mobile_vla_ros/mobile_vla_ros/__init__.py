"""What every node shares at the ROS rim: running, lifecycle, diagnostics, QoS, messages to arrays and back."""
