"""Node parameters of a launch file: files and dictionaries, with substitutions in their values."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ros2_lite.errors import UserError
from ros2_lite.launching.conditions import is_true
from ros2_lite.launching.substitutions import SomeText, Substitution, perform

if TYPE_CHECKING:
    from ros2_lite.launching.context import LaunchContext


class ParameterValue:
    """A value with its type; without one, the text is read as YAML."""

    def __init__(self, value: Any, *, value_type: type | None = None) -> None:
        self._value, self._type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """Return the value. Raises UserError when the text is not of the type."""
        if self._type is None or not isinstance(self._value, (str, Substitution, list, tuple)):
            return evaluate(context, self._value)
        text = perform(context, self._value)
        try:
            if self._type is bool:
                return is_true(text)
            return self._type(text)
        except (ValueError, UserError):
            raise UserError(f"parameter value {text!r} is not of type {self._type.__name__}") from None


class ParameterFile:
    """A parameter file."""

    def __init__(self, param_file: SomeText) -> None:
        self._path = param_file

    def evaluate(self, context: LaunchContext) -> Path:
        """Return its path."""
        return Path(perform(context, self._path))


def evaluate(context: LaunchContext, value: Any) -> Any:
    """Return the parameter value; text is read as YAML, as the real launch does: '5' becomes 5."""
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if isinstance(value, Mapping):
        return {perform(context, key): evaluate(context, item) for key, item in value.items()}
    if isinstance(value, (str, Substitution)):
        return yaml.safe_load(perform(context, value))
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        if any(isinstance(item, Substitution) for item in value):
            return yaml.safe_load(perform(context, value))
        return list(value)
    return value


def parameter_arguments(context: LaunchContext, parameters: Sequence[Any], folder: Path) -> list[str]:
    """Turn a node's parameters into ``--params-file`` arguments, in their order; later ones win."""
    arguments: list[str] = []
    for entry in parameters:
        if isinstance(entry, Mapping):
            content = {"/**": {"ros__parameters": evaluate(context, entry)}}
            with tempfile.NamedTemporaryFile("w", prefix="launch_params_", dir=folder, delete=False) as file:
                yaml.safe_dump(content, file, allow_unicode=True)
            path = Path(file.name)
        else:
            path = entry.evaluate(context) if isinstance(entry, ParameterFile) else Path(perform(context, entry))
            if not path.is_file():
                raise UserError(f"parameter file '{path}' does not exist")
        arguments += ["--params-file", str(path)]
    return arguments
