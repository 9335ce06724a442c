"""Faster kernels for x86 CPUs behind the engine protocol."""
