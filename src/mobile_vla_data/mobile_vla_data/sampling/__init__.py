"""Messages and ticks become steps: the code that the recorder and the import of recordings share."""
