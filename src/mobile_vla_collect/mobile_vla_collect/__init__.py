"""Collection of episodes: cameras, teleoperation, and the recorder."""
