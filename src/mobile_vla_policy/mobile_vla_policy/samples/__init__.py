"""Input of training and evaluation: episodes, decoded frames, windows of frames, and their provenance."""
