"""``mobile-vla-policy benchmark``: time of a step, stage by stage, compared with the matrix products alone."""
