"""The actions of ``launch_ros.actions`` that this stand-in has."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from ros2_lite.errors import UserError
from ros2_lite.launching.conditions import IfCondition
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import Action
from ros2_lite.launching.parameters import parameter_arguments
from ros2_lite.launching.substitutions import SomeText, perform
from ros2_lite.launching.supervisor import ProcessDescription

_NAMESPACE = "ros_namespace"


def _joined(base: str, namespace: str) -> str:
    if not namespace or namespace.startswith("/"):
        return namespace or base
    return f"{base.rstrip('/')}/{namespace}" if base else f"/{namespace}"


class PushRosNamespace(Action):
    """Puts the following nodes of its group into a namespace."""

    def __init__(self, namespace: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        base = context.launch_configurations.get(_NAMESPACE, "")
        context.launch_configurations[_NAMESPACE] = _joined(base, perform(context, self._namespace))


class Node(Action):
    """Starts a node in a process of its own."""

    def __init__(
        self,
        *,
        package: SomeText,
        executable: SomeText,
        name: SomeText | None = None,
        namespace: SomeText | None = None,
        parameters: Sequence[Any] | None = None,
        remappings: Iterable[tuple[SomeText, SomeText]] | None = None,
        arguments: Iterable[SomeText] | None = None,
        ros_arguments: Iterable[SomeText] | None = None,
        additional_env: Mapping[SomeText, SomeText] | None = None,
        prefix: SomeText | None = None,
        output: SomeText = "log",
        emulate_tty: bool = False,
        on_exit: Any = None,
        sigterm_timeout: SomeText | None = None,
        sigkill_timeout: SomeText | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self._package, self._executable, self._name, self._namespace = package, executable, name, namespace
        self._parameters, self._remappings = list(parameters or []), list(remappings or [])
        self._arguments, self._ros_arguments = list(arguments or []), list(ros_arguments or [])
        self._environment, self._prefix = dict(additional_env or {}), prefix
        self._output, self._emulate_tty, self._on_exit = output, emulate_tty, on_exit
        self._timeouts = {"sigterm_timeout": sigterm_timeout, "sigkill_timeout": sigkill_timeout}

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is None:
            raise UserError("nodes cannot be started while arguments are listed")
        executable = perform(context, self._executable)
        environment = dict(context.environment)
        environment.update({perform(context, key): perform(context, value) for key, value in self._environment.items()})
        context.supervisor.start(
            ProcessDescription(
                name=executable,
                command=self._command(context, executable),
                environment=environment,
                show_stdout=perform(context, self._output) in ("screen", "both"),
                tty=self._emulate_tty,
                on_exit=self._on_exit,
                sigterm_after_s=self._timeout(context, "sigterm_timeout", context.supervisor.sigterm_after_s),
                sigkill_after_s=self._timeout(context, "sigkill_timeout", context.supervisor.sigkill_after_s),
            ),
            context,
        )

    def _command(self, context: LaunchContext, executable: str) -> list[str]:
        assert context.supervisor is not None
        package = perform(context, self._package)
        command = shlex.split(perform(context, self._prefix)) if self._prefix else []
        command += [find_executable(package, executable), *(perform(context, item) for item in self._arguments)]
        command.append("--ros-args")
        if self._name is not None:
            command += ["-r", f"__node:={perform(context, self._name)}"]
        base = context.launch_configurations.get(_NAMESPACE, "")
        namespace = _joined(base, perform(context, self._namespace) if self._namespace is not None else "")
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        command += parameter_arguments(context, self._parameters, context.supervisor.folder)
        for source, target in self._remappings:
            command += ["-r", f"{perform(context, source)}:={perform(context, target)}"]
        return command + [perform(context, item) for item in self._ros_arguments]

    def _timeout(self, context: LaunchContext, name: str, default_s: float) -> float:
        value = self._timeouts[name]
        text = perform(context, value) if value is not None else context.launch_configurations.get(name)
        try:
            return default_s if text is None else float(text)
        except ValueError:
            raise UserError(f"{name} is {text!r}; it must be a number of seconds") from None


def find_executable(package: str, executable: str) -> str:
    """Path of a package's executable. Raises UserError, one line."""
    try:
        folder = Path(get_package_prefix(package), "lib", package)
    except (PackageNotFoundError, ValueError):
        raise UserError(f"package '{package}' not found; has the workspace been built (make setup)?") from None
    path = folder / executable
    if not os.access(path, os.X_OK) or path.is_dir():
        there = sorted(file.name for file in folder.glob("*") if os.access(file, os.X_OK) and file.is_file())
        raise UserError(
            f"executable '{executable}' not found on the libexec directory '{folder}'"
            + (f"; it has {', '.join(there)}" if there else "")
        )
    return str(path)
