"""The actions of ``launch.actions`` that this stand-in has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ros2_lite.errors import UserError
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import LaunchDescriptionEntity, PythonLaunchDescriptionSource
from ros2_lite.launching.substitutions import SomeText, describe, perform


class DeclareLaunchArgument(LaunchDescriptionEntity):
    """Declares an argument of the launch file; sets its default unless the user gave a value."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText | None = None,
        description: str = "no description given",
        choices: Sequence[str] | None = None,
    ) -> None:
        self.name, self._default, self._choices, self._description = name, default_value, choices, description

    def execute(self, context: LaunchContext) -> None:
        if self.name not in context.launch_configurations:
            if self._default is None:
                raise UserError(
                    f"Required launch argument '{self.name}' (description: '{self._description}') was not provided"
                )
            context.launch_configurations[self.name] = perform(context, self._default)
        value = context.launch_configurations[self.name]
        if self._choices is not None and value not in self._choices:
            allowed = list(self._choices)
            raise UserError(
                f"Argument '{self.name}' provided value '{value}' is not valid. Valid options are: {allowed}"
            )

    def show(self) -> str:
        """Return what ``--show-args`` prints of it."""
        choices = "" if self._choices is None else f". Valid choices are: {list(self._choices)}"
        default = "" if self._default is None else f"\n        (default: {describe(self._default)})"
        return f"\n    '{self.name}':\n        {self._description}{choices}{default}"


class SetEnvironmentVariable(LaunchDescriptionEntity):
    """Sets an environment variable of the processes that start after it, inside its group."""

    def __init__(self, name: SomeText, value: SomeText) -> None:
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(context, self._name)] = perform(context, self._value)


class LogInfo(LaunchDescriptionEntity):
    """Prints a line."""

    def __init__(self, *, msg: SomeText) -> None:
        self._msg = msg

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is not None:
            context.supervisor.log("INFO", "launch.user", perform(context, self._msg))


class OpaqueFunction(LaunchDescriptionEntity):
    """Calls a function with the context; the entities it returns are visited next."""

    def __init__(self, *, function: Callable[..., Any], args: Iterable[Any] = ()) -> None:
        self._function, self._args = function, list(args)

    def execute(self, context: LaunchContext) -> Any:
        return self._function(context, *self._args)


class GroupAction(LaunchDescriptionEntity):
    """Actions with configurations and an environment of their own."""

    def __init__(self, actions: Iterable[LaunchDescriptionEntity]) -> None:
        self._actions = list(actions)

    def execute(self, context: LaunchContext) -> None:
        with context.scope():
            for action in self._actions:
                action.visit(context)

    def sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        return self._actions


class IncludeLaunchDescription(LaunchDescriptionEntity):
    """Another launch file, with arguments."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource,
        *,
        launch_arguments: Iterable[tuple[SomeText, SomeText]] = (),
    ) -> None:
        self._source, self._arguments = launch_description_source, list(launch_arguments)

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity]:
        description = self._source.load(context)
        for name, value in self._arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        return [description]


class Shutdown(LaunchDescriptionEntity):
    """Ends the launch: every process is stopped."""

    def __init__(self, *, reason: SomeText = "reason not given") -> None:
        self._reason = reason

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is not None:
            context.supervisor.stop(perform(context, self._reason))


def declared_arguments(entities: Iterable[LaunchDescriptionEntity]) -> list[DeclareLaunchArgument]:
    """Return the arguments that a user can set."""
    found: list[DeclareLaunchArgument] = []
    for entity in entities:
        found += [entity] if isinstance(entity, DeclareLaunchArgument) else declared_arguments(entity.sub_entities())
    return found
