"""The open episode on disk: an append-only log that survives a crash."""
