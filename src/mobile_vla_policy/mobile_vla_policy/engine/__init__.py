"""Execution of a loaded network: cut into stages, in one precision, by PyTorch or by the engine of an export."""
