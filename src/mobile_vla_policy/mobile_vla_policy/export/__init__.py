"""Export a checkpoint to another format, verify the result, and keep exports in a cache."""
