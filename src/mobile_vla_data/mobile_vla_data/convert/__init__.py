"""Conversion between dataset folders and the formats of other tools: one folder or module a format."""
