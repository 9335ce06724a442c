"""The quality gate: what is wrong with an episode or a dataset, and what to do about it."""
