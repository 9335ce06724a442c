"""Errors that end a command with one line for the user."""


class UserError(RuntimeError):
    """Ends the command with status 1 and this one line on stderr."""
