"""The one error of all conversions."""

from __future__ import annotations


class ConvertError(ValueError):
    """A dataset cannot be converted; one line that names the file, the reason and what to do."""
