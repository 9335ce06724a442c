"""Values that are known only when the launch description is executed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ros2_lite.errors import UserError
from ros2_lite.packages import share_of


class Configurations(Protocol):
    """The part of the context that substitutions read."""

    launch_configurations: dict[str, str]


class Substitution:
    """Becomes a text in a context."""

    def perform(self, context: Configurations) -> str:
        """Return the text."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return what ``--show-args`` shows."""
        raise NotImplementedError


SomeText: TypeAlias = "str | Path | Substitution | Sequence[str | Substitution]"


def perform(context: Configurations, value: Any) -> str:
    """Return the text of a string, a path, a substitution, or a sequence of those, which are joined."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, Iterable):
        return "".join(perform(context, item) for item in value)
    raise UserError(f"{value!r} is neither text nor a substitution")


def describe(value: SomeText) -> str:
    """Return what ``--show-args`` shows of a default value."""
    return value.describe() if isinstance(value, Substitution) else repr(str(value))


class LaunchConfiguration(Substitution):
    """The value of a launch argument."""

    def __init__(self, variable_name: SomeText) -> None:
        self._name = variable_name

    def perform(self, context: Configurations) -> str:
        name = perform(context, self._name)
        if name not in context.launch_configurations:
            raise UserError(f"launch configuration '{name}' does not exist")
        return context.launch_configurations[name]

    def describe(self) -> str:
        return f"LaunchConfig({describe(self._name)})"


class PathJoinSubstitution(Substitution):
    """Its parts joined to a path."""

    def __init__(self, substitutions: Iterable[SomeText]) -> None:
        self._parts = list(substitutions)

    def perform(self, context: Configurations) -> str:
        return os.path.join(*(perform(context, part) for part in self._parts))

    def describe(self) -> str:
        return f"PathJoin({', '.join(describe(part) for part in self._parts)})"


class FindPackageShare(Substitution):
    """Share folder of a package."""

    def __init__(self, package: SomeText) -> None:
        self._package = package

    def perform(self, context: Configurations) -> str:
        return str(share_of(perform(context, self._package)))

    def describe(self) -> str:
        return f"FindPackageShare(pkg={describe(self._package)})"
