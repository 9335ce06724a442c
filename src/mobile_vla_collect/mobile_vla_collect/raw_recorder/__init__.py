"""raw_recorder_node: write every topic of the robot, unsampled, into an MCAP file beside each episode."""
