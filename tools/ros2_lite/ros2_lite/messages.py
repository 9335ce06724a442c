"""Messages to text and back, in the words of rosidl_runtime_py, which no wheel carries."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import yaml

from ros2_lite.errors import UserError


@dataclass(frozen=True)
class Format:
    """How long values are shown."""

    truncate_length: int | None = 128
    no_arr: bool = False
    no_str: bool = False
    flow_style: bool = False


def plain(value: Any, style: Format, field_type: str = "") -> Any:
    """Turn a message or a field value into dictionaries, lists and numbers."""
    if hasattr(value, "get_fields_and_field_types"):
        types = value.get_fields_and_field_types()
        return {name: plain(getattr(value, name), style, types[name]) for name in types}
    if isinstance(value, (list, tuple, array.array, np.ndarray)):
        if style.no_arr:
            return f"<array type: {field_type or type(value).__name__}, length: {len(value)}>"
        shown = value if style.truncate_length is None else value[: style.truncate_length]
        items = [plain(item, style) for item in shown]
        return items if len(shown) == len(value) else [*items, "..."]
    if isinstance(value, bytes):
        return list(value) if len(value) != 1 else value[0]
    if isinstance(value, str):
        if style.no_str:
            return f"<string length: {len(value)}>"
        limit = style.truncate_length
        return value if limit is None or len(value) <= limit else f"{value[:limit]}..."
    if isinstance(value, np.generic):
        return value.item()
    return value


def to_yaml(value: Any, style: Format = Format()) -> str:
    """Return the YAML text that ``ros2 topic echo`` prints of a message."""
    content = plain(value, style)
    if not isinstance(content, (dict, list)):
        return f"{content}\n"
    return yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, width=sys.maxsize, default_flow_style=style.flow_style
    )


def to_csv(value: Any, style: Format) -> str:
    """Return all values on one line."""

    def flat(item: Any) -> list[str]:
        if isinstance(item, dict):
            return [text for part in item.values() for text in flat(part)]
        if isinstance(item, list):
            return [text for part in item for text in flat(part)]
        return [str(item)]

    return ",".join(flat(plain(value, style)))


def field_of(message: Any, path: str) -> Any:
    """Value of ``header.stamp`` or ``data[0]``. Raises UserError naming the field."""
    value = message
    for part in path.replace("[", ".[").strip(".").split("."):
        try:
            value = value[int(part[1:-1])] if part.startswith("[") else getattr(value, part)
        except (AttributeError, IndexError, ValueError, TypeError):
            raise UserError(f"Invalid field '{path}': {type(value).__name__} has no '{part}'") from None
    return value


def fill(message: Any, values: Mapping[str, Any], now: Callable[[], Any] | None = None, path: str = "") -> None:
    """Set fields of a message. ``auto`` for a header and ``now`` for a time are the present. Raises UserError."""
    types = message.get_fields_and_field_types()
    for name, value in values.items():
        where = f"{path}{name}"
        if name not in types:
            raise UserError(f"{type(message).__name__} has no field '{where}'; it has {', '.join(types) or 'none'}")
        try:
            setattr(message, name, _converted(getattr(message, name), value, types[name], now, where))
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split()) or "wrong type"
            raise UserError(f"field '{where}' is a {types[name]}, not {value!r}: {reason}") from None


def _converted(current: Any, value: Any, field_type: str, now: Callable[[], Any] | None, where: str) -> Any:
    if now is not None and field_type == "std_msgs/Header" and value == "auto":
        current.stamp = now()
        return current
    if now is not None and field_type == "builtin_interfaces/Time" and value == "now":
        return now()
    if hasattr(current, "get_fields_and_field_types"):
        if not isinstance(value, Mapping):
            raise ValueError("a dictionary is needed")
        fill(current, value, now, f"{where}.")
        return current
    if isinstance(current, bytes):
        return bytes([value]) if isinstance(value, int) else bytes(value)
    if isinstance(current, bool):
        if not isinstance(value, bool):
            raise ValueError("true or false is needed")
        return value
    if isinstance(current, (int, float, str)):
        if isinstance(value, (Mapping, list)) or (isinstance(current, str) != isinstance(value, str)):
            raise ValueError(f"a {type(current).__name__} is needed")
        if isinstance(current, int) and value != int(value):
            raise ValueError("a whole number is needed")
        return type(current)(value)
    return _sequence(current, value, field_type, now, where)


def _sequence(current: Any, value: Any, field_type: str, now: Callable[[], Any] | None, where: str) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("a list is needed")
    if isinstance(current, np.ndarray):
        return np.array(value, dtype=current.dtype)
    if isinstance(current, array.array):
        return array.array(current.typecode, value)
    element = field_type.removeprefix("sequence<").split(">")[0].split(",")[0].split("[")[0]
    if "/" not in element:
        return list(value)
    package, name = element.split("/")
    message_type = getattr(import_module(f"{package}.msg"), name)
    items = []
    for index, item in enumerate(value):
        message = message_type()
        fill(message, item, now, f"{where}[{index}].")
        items.append(message)
    return items
