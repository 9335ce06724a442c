"""Message types by name, and their definitions as MCAP stores them."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

#: A field's type, without array bounds: ``geometry_msgs/Pose``, ``Header``, ``uint8``.
_FIELD = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_/]*)")
_SEPARATOR = "=" * 80
_PRIMITIVE = re.compile(r"bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64)")


class UnknownTypeError(LookupError):
    """A message type is not installed here; one line."""


def message_type(name: str) -> type:
    """Return the class of ``package/msg/Name``. Raises :class:`UnknownTypeError`."""
    package, _, short = name.partition("/msg/")
    try:
        found: type = getattr(import_module(f"{package}.msg"), short)
    except (ImportError, AttributeError):
        raise UnknownTypeError(f"message type '{name}' is not installed here") from None
    return found


def definition(name: str) -> str:
    """Return the text of ``package/msg/Name``, followed by that of every type in it, as MCAP's ``ros2msg`` has it.

    Raises:
        UnknownTypeError: a definition is not installed here.
    """
    texts = {name: _text(name)}
    pending = [name]
    while pending:
        for inner in _inner(pending.pop()):
            if inner not in texts:
                texts[inner] = _text(inner)
                pending.append(inner)
    parts = [texts.pop(name)]
    parts += [f"{_SEPARATOR}\nMSG: {inner.replace('/msg/', '/')}\n{text}" for inner, text in texts.items()]
    return "\n".join(parts)


@lru_cache
def _text(name: str) -> str:
    package, _, short = name.partition("/msg/")
    try:
        return Path(get_package_share_directory(package), "msg", f"{short}.msg").read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        raise UnknownTypeError(f"the definition of message type '{name}' is not installed here") from None


def _inner(name: str) -> list[str]:
    """Return the types of a message's fields that are messages."""
    package = name.split("/")[0]
    found = []
    for line in _text(name).splitlines():
        match = _FIELD.match(line)
        if match is None or _PRIMITIVE.fullmatch(match[1]):
            continue
        *owner, short = ("std_msgs/Header" if match[1] == "Header" else match[1]).split("/")
        found.append(f"{owner[0] if owner else package}/msg/{short}")
    return found
