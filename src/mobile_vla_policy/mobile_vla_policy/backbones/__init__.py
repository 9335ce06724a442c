"""One file per vision-language backbone: its settings, how it is built, and what a checkpoint must hold of it."""
