"""From a folder of episodes to a checkpoint."""
