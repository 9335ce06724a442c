"""``mobile-vla-policy benchmark``: how long a step takes, stage by stage, and how long it would take at best."""
