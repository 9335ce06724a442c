"""The robot's web page: what the cameras see, what recorder, policy and gate do, a stop button, and teleop."""
