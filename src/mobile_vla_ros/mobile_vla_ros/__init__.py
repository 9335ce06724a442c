"""Shared by all nodes: running, lifecycle, diagnostics, QoS, parameters, publishers, messages to arrays and back."""
