"""A folder of episodes: its lock, plan, progress, splits, statistics, and editing without loss."""
