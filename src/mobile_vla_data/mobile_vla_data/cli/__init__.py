"""The command mobile-vla-data."""
