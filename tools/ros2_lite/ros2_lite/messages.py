"""Messages to text and back, as rosidl_runtime_py does, which no wheel carries."""

from __future__ import annotations

import array
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import yaml

from ros2_lite.errors import UserError


def plain(value: Any, length: int | None) -> Any:
    """Turn a message or a field into dictionaries, lists and numbers; longer lists and texts are cut to ``length``."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name), length) for name in value.get_fields_and_field_types()}
    if isinstance(value, (list, tuple, array.array, np.ndarray)):
        shown = value if length is None else value[:length]
        return [plain(item, length) for item in shown] + (["..."] if len(shown) < len(value) else [])
    if isinstance(value, str) and length is not None and len(value) > length:
        return f"{value[:length]}..."
    if isinstance(value, bytes):
        return list(value) if len(value) != 1 else value[0]
    return value.item() if isinstance(value, np.generic) else value


def to_yaml(value: Any, length: int | None) -> str:
    """Return the text that ``ros2 topic echo`` prints of a message or a field."""
    content = plain(value, length)
    if not isinstance(content, (dict, list)):
        return f"{content}\n"
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=sys.maxsize))


def field_of(message: Any, path: str) -> Any:
    """Return the value of ``header.stamp`` or ``data[0]``. Raises UserError."""
    value = message
    for part in path.replace("[", ".[").strip(".").split("."):
        try:
            value = value[int(part[1:-1])] if part.startswith("[") else getattr(value, part)
        except (AttributeError, IndexError, ValueError, TypeError):
            raise UserError(f"Invalid field '{path}': {type(value).__name__} has no '{part}'") from None
    return value


def fill(message: Any, values: Any, path: str = "") -> None:
    """Set fields of a message. Raises UserError."""
    if not isinstance(values, Mapping):
        raise UserError(f"field '{path}' needs a dictionary, not {values!r}")
    types = message.get_fields_and_field_types()
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        if name not in types:
            raise UserError(f"{type(message).__name__} has no field '{where}'; it has {', '.join(types) or 'none'}")
        try:
            setattr(message, name, _converted(getattr(message, name), value, types[name], where))
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"field '{where}' is a {types[name]}, not {value!r}: {' '.join(str(error).split())}"
            ) from None


def _converted(current: Any, value: Any, field_type: str, where: str) -> Any:
    """Return ``value`` as the field holds it; the setters check what is left to check."""
    if hasattr(current, "get_fields_and_field_types"):
        fill(current, value, where)
        return current
    if isinstance(current, float) and isinstance(value, int):
        return float(value)
    if isinstance(current, bytes) and isinstance(value, int):
        return bytes([value])
    element = field_type.removeprefix("sequence<").split(">")[0].split(",")[0].split("[")[0]
    if not isinstance(current, list) or "/" not in element or not isinstance(value, list):
        return value
    package, name = element.split("/")
    items = [getattr(import_module(f"{package}.msg"), name)() for _ in value]
    for index, (item, content) in enumerate(zip(items, value, strict=True)):
        fill(item, content, f"{where}[{index}]")
    return items
