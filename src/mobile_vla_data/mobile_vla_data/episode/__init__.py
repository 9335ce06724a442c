"""One episode: its file, how it is written so that nothing is lost, read, and recovered."""
