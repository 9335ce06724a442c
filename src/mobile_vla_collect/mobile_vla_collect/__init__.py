"""From a driven robot to episodes: cameras, teleoperation, and the recorder."""
