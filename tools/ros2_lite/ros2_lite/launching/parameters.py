"""Node parameters of a launch file: files, and dictionaries with launch arguments as values."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ros2_lite.errors import UserError
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.substitutions import SomeText, Substitution, perform


class ParameterValue:
    """A text with the type of the parameter."""

    def __init__(self, value: SomeText, *, value_type: type) -> None:
        self._value, self._type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """Return the value. Raises UserError when the text is not of the type."""
        text = perform(context, self._value)
        try:
            return _BOOLEAN[text.lower()] if self._type is bool else self._type(text)
        except (ValueError, KeyError):
            raise UserError(f"parameter value {text!r} is not of type {self._type.__name__}") from None


_BOOLEAN = {"true": True, "false": False}


def evaluate(context: LaunchContext, value: Any) -> Any:
    """Return a parameter's value; text is read as YAML, as the real launch does: '5' becomes 5."""
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    return yaml.safe_load(perform(context, value)) if isinstance(value, (str, Substitution)) else value


def parameter_arguments(context: LaunchContext, parameters: Sequence[Any], folder: Path) -> list[str]:
    """Turn a node's parameters into ``--params-file`` arguments, in their order; later ones win."""
    arguments: list[str] = []
    for entry in parameters:
        if isinstance(entry, Mapping):
            content = {name: evaluate(context, value) for name, value in entry.items()}
            with tempfile.NamedTemporaryFile("w", prefix="launch_params_", dir=folder, delete=False) as file:
                yaml.safe_dump({"/**": {"ros__parameters": content}}, file, allow_unicode=True)
            path = file.name
        else:
            path = perform(context, entry)
            if not Path(path).is_file():
                raise UserError(f"parameter file '{path}' does not exist")
        arguments += ["--params-file", path]
    return arguments
