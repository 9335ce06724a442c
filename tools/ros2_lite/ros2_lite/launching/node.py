"""The actions of ``launch_ros.actions`` that this stand-in has."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ros2_lite.errors import UserError
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import LaunchDescriptionEntity, run_entities
from ros2_lite.launching.parameters import parameter_arguments
from ros2_lite.launching.substitutions import SomeText, perform
from ros2_lite.launching.supervisor import ProcessExited
from ros2_lite.packages import find_executable

_NAMESPACE = "ros_namespace"


class PushRosNamespace(LaunchDescriptionEntity):
    """Puts the following nodes of its group into a namespace."""

    def __init__(self, namespace: SomeText) -> None:
        self._namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        base, pushed = context.launch_configurations.get(_NAMESPACE, ""), perform(context, self._namespace)
        if pushed:
            absolute = pushed if pushed.startswith("/") else f"{base.rstrip('/')}/{pushed}"
            context.launch_configurations[_NAMESPACE] = absolute


class SetRemap(LaunchDescriptionEntity):
    """Remaps a name in the following nodes of its group."""

    def __init__(self, src: SomeText, dst: SomeText) -> None:
        self._src, self._dst = src, dst

    def execute(self, context: LaunchContext) -> None:
        context.remaps.append((perform(context, self._src), perform(context, self._dst)))


class SetParameter(LaunchDescriptionEntity):
    """Sets a parameter of the following nodes of its group; a node's own parameters override it."""

    def __init__(self, name: SomeText, value: Any) -> None:
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.parameters[perform(context, self._name)] = self._value


class Node(LaunchDescriptionEntity):
    """Starts a node in its own process."""

    def __init__(
        self,
        *,
        package: str,
        executable: str,
        name: str | None = None,
        parameters: Sequence[Any] = (),
        prefix: str | None = None,
        output: str = "log",
        on_exit: Any = None,
    ) -> None:
        self._package, self._executable, self._name = package, executable, name
        self._parameters, self._prefix = parameters, prefix
        self._show_stdout, self._on_exit = output == "screen", on_exit

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is None:
            raise UserError("nodes cannot be started while arguments are listed")

        def ended(event: ProcessExited) -> None:
            todo = self._on_exit
            run_entities(todo(event, context) if callable(todo) else todo, context)

        command = shlex.split(self._prefix or "")
        command += [find_executable(self._package, self._executable), "--ros-args"]
        if self._name is not None:
            command += ["-r", f"__node:={self._name}"]
        if namespace := context.launch_configurations.get(_NAMESPACE):
            command += ["-r", f"__ns:={namespace}"]
        for source, target in context.remaps:
            command += ["-r", f"{source}:={target}"]
        parameters = [*([context.parameters] if context.parameters else []), *self._parameters]
        command += parameter_arguments(context, parameters, context.supervisor.folder)
        context.supervisor.start(self._executable, command, dict(context.environment), self._show_stdout, ended)
