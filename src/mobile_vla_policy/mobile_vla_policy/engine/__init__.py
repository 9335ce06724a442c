"""How a loaded network is executed: cut into stages, in a precision, by PyTorch or by an engine it was exported for."""
