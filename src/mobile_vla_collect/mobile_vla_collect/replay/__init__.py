"""replay_node: publish the inputs of a recorded episode, or drive its actions again and measure the deviation."""
