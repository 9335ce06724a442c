"""The words of the page in English and Korean: one table, ``static/words.json``, for server and browser.

The server sends keys with values; the browser shows them in its language. Text from other nodes is sent unchanged.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"

#: A key of the table under ``key``, and the values of its placeholders.
Words = dict[str, Any]


@cache
def table() -> dict[str, dict[str, str]]:
    """Return the table: key -> language -> text with ``{placeholders}``."""
    loaded: dict[str, dict[str, str]] = json.loads((STATIC / "words.json").read_text(encoding="utf-8"))
    return loaded


def say(key: str, **values: object) -> Words:
    """Return words for the browser. Raises KeyError if the table has no such key or a placeholder has no value."""
    table()[key]["en"].format(**values)
    return {"key": key, **values}


class RefusalError(ValueError):
    """A request cannot be done; one line saying why, in words of the table or as text of another package."""

    def __init__(self, why: Words | str) -> None:
        super().__init__(in_english(why))
        self.why = why


def in_english(words: Words | str) -> str:
    """Return words as English text, for logs and for programs that use the API; text stays as it is."""
    if isinstance(words, str):
        return words
    return table()[words["key"]]["en"].format(**{name: in_english_value(value) for name, value in words.items()})


def in_english_value(value: object) -> object:
    """Return nested words as English text, any other value unchanged."""
    return in_english(value) if isinstance(value, dict) else value
