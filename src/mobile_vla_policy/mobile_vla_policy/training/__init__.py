"""Training: from a dataset to a checkpoint."""
