"""Values that are known only when the launch description is executed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory

from ros2_lite.errors import UserError

if TYPE_CHECKING:
    from ros2_lite.launching.context import LaunchContext


class Substitution:
    """Becomes a text in a context."""

    def perform(self, context: LaunchContext) -> str:
        """Return the text."""
        raise NotImplementedError

    def describe(self) -> str:
        """How ``--show-args`` shows it."""
        return type(self).__name__


SomeText: TypeAlias = "str | Path | Substitution | Iterable[str | Substitution]"


def perform(context: LaunchContext, value: Any) -> str:
    """Text of a string, a path, a substitution, or a sequence of those, which are joined."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, Iterable):
        return "".join(perform(context, item) for item in value)
    raise UserError(f"{value!r} is neither text nor a substitution")


def describe(value: Any) -> str:
    """How ``--show-args`` shows a default value."""
    if isinstance(value, Substitution):
        return value.describe()
    if isinstance(value, (str, Path)):
        return repr(str(value))
    return " + ".join(describe(item) for item in value)


class TextSubstitution(Substitution):
    """A text as it is."""

    def __init__(self, *, text: str) -> None:
        self.text = text

    def perform(self, context: LaunchContext) -> str:
        return self.text

    def describe(self) -> str:
        return repr(self.text)


class LaunchConfiguration(Substitution):
    """The value of a launch argument or of SetLaunchConfiguration."""

    def __init__(self, variable_name: SomeText, *, default: SomeText | None = None) -> None:
        self._name, self._default = variable_name, default

    def perform(self, context: LaunchContext) -> str:
        name = perform(context, self._name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            raise UserError(f"launch configuration '{name}' does not exist")
        return perform(context, self._default)

    def describe(self) -> str:
        return f"LaunchConfig({describe(self._name)})"


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(self, name: SomeText, *, default_value: SomeText | None = None) -> None:
        self._name, self._default = name, default_value

    def perform(self, context: LaunchContext) -> str:
        name = perform(context, self._name)
        if name in context.environment:
            return context.environment[name]
        if self._default is None:
            raise UserError(f"environment variable '{name}' does not exist")
        return perform(context, self._default)

    def describe(self) -> str:
        return f"EnvVar({describe(self._name)})"


class PathJoinSubstitution(Substitution):
    """Its parts joined to a path."""

    def __init__(self, substitutions: Iterable[SomeText]) -> None:
        self._parts = list(substitutions)

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*(perform(context, part) for part in self._parts))

    def describe(self) -> str:
        return f"PathJoin({', '.join(describe(part) for part in self._parts)})"


class PythonExpression(Substitution):
    """The value of a Python expression, as text."""

    def __init__(self, expression: SomeText) -> None:
        self._expression = expression

    def perform(self, context: LaunchContext) -> str:
        expression = perform(context, self._expression)
        try:
            return str(eval(expression))  # the launch file's author wrote it; the real launch does the same
        except Exception as error:
            raise UserError(f"PythonExpression {expression!r}: {error}") from None

    def describe(self) -> str:
        return f"PythonExpr({describe(self._expression)})"


class EqualsSubstitution(Substitution):
    """``true`` when both sides are the same text, else ``false``."""

    def __init__(self, left: SomeText, right: SomeText) -> None:
        self._left, self._right = left, right

    def perform(self, context: LaunchContext) -> str:
        return str(perform(context, self._left) == perform(context, self._right)).lower()

    def describe(self) -> str:
        return f"EqualsSubstitution({describe(self._left)} {describe(self._right)})"


class NotEqualsSubstitution(EqualsSubstitution):
    """``false`` when both sides are the same text, else ``true``."""

    def perform(self, context: LaunchContext) -> str:
        return "false" if super().perform(context) == "true" else "true"

    def describe(self) -> str:
        return f"NotEqualsSubstitution({describe(self._left)} {describe(self._right)})"


class FindPackagePrefix(Substitution):
    """Install prefix of a package."""

    _find = staticmethod(get_package_prefix)

    def __init__(self, package: SomeText) -> None:
        self._package = package

    def perform(self, context: LaunchContext) -> str:
        package = perform(context, self._package)
        try:
            return str(self._find(package))
        except (PackageNotFoundError, ValueError):
            raise UserError(f"package '{package}' not found; has the workspace been built (make setup)?") from None

    def describe(self) -> str:
        return f"{type(self).__name__}(pkg={describe(self._package)})"


class FindPackageShare(FindPackagePrefix):
    """Share folder of a package."""

    _find = staticmethod(get_package_share_directory)
