"""Data that must survive a crash: fsync, atomic replacement, one writer per folder."""
