"""Repair a dataset: recover interrupted episodes and fix derived files."""
