"""recorder_node: sample streams at the control rate and write episodes."""
