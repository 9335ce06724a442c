"""Generate the pages of ``docs/reference`` that come from the code: commands, launch arguments, messages, settings."""
