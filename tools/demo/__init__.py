"""`make demo`: the whole way from nothing to a robot that follows instructions, in simulation."""
