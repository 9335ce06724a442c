"""The actions of ``launch.actions`` that this stand-in has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ros2_lite.errors import UserError
from ros2_lite.launching.conditions import IfCondition
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import (
    Action,
    LaunchDescription,
    LaunchDescriptionEntity,
    PythonLaunchDescriptionSource,
)
from ros2_lite.launching.substitutions import SomeText, describe, perform


class DeclareLaunchArgument(Action):
    """Declares an argument of the launch file; sets its default where the user gave no value."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText | None = None,
        description: str | None = None,
        choices: Sequence[str] | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.name, self.default_value, self.choices = name, default_value, choices
        if choices is not None and isinstance(default_value, str) and default_value not in choices:
            raise UserError(f'Provided default_value "{default_value}" is not in provided choices "{list(choices)}".')
        self.description = description or "no description given"
        if choices is not None:
            self.description = self.description.rstrip(".") + f". Valid choices are: {list(choices)}"

    def execute(self, context: LaunchContext) -> None:
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise UserError(
                    f"Required launch argument '{self.name}' (description: '{self.description}') was not provided"
                )
            context.launch_configurations[self.name] = perform(context, self.default_value)
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise UserError(
                f"Argument '{self.name}' provided value '{value}' is not valid. Valid options are: {list(self.choices)}"
            )

    def show(self) -> str:
        """Return what ``--show-args`` prints of it."""
        default = "" if self.default_value is None else f"\n        (default: {describe(self.default_value)})"
        return f"\n    '{self.name}':\n        {self.description}{default}"


class SetLaunchConfiguration(Action):
    """Sets a launch configuration."""

    def __init__(self, name: SomeText, value: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations[perform(context, self._name)] = perform(context, self._value)


class SetEnvironmentVariable(Action):
    """Sets an environment variable of the processes that start after it, inside its group."""

    def __init__(self, name: SomeText, value: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(context, self._name)] = perform(context, self._value)


class LogInfo(Action):
    """Prints a line."""

    def __init__(self, *, msg: SomeText, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._msg = msg

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is not None:
            context.supervisor.log("INFO", "launch.user", perform(context, self._msg))


class OpaqueFunction(Action):
    """Calls a function with the context; the entities it returns are visited next."""

    def __init__(
        self,
        *,
        function: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self._function, self._args, self._kwargs = function, list(args or []), dict(kwargs or {})

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity] | None:
        result: Iterable[LaunchDescriptionEntity] | None = self._function(context, *self._args, **self._kwargs)
        return result


class GroupAction(Action):
    """Actions that share a condition and, unless ``scoped=False``, their own configurations and environment."""

    def __init__(self, actions: Iterable[Action], *, scoped: bool = True, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._actions, self._scoped = list(actions), scoped

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity] | None:
        if not self._scoped:
            return self._actions
        with context.scope():
            for action in self._actions:
                action.visit(context)
        return None

    def sub_entities(self) -> Sequence[LaunchDescriptionEntity]:
        return self._actions


class IncludeLaunchDescription(Action):
    """Another launch file, with arguments."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource | LaunchDescription | str,
        *,
        launch_arguments: Iterable[tuple[SomeText, SomeText]] | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        if isinstance(launch_description_source, str):
            launch_description_source = PythonLaunchDescriptionSource(launch_description_source)
        self._source = launch_description_source
        self._arguments = list(launch_arguments or [])

    def execute(self, context: LaunchContext) -> Iterable[LaunchDescriptionEntity]:
        description = self.load(context)
        for name, value in self._arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        return [description]

    def load(self, context: LaunchContext) -> LaunchDescription:
        """Read the included description."""
        return self._source if isinstance(self._source, LaunchDescription) else self._source.load(context)

    def given(self, context: LaunchContext) -> set[str]:
        """Names of the arguments it hands over."""
        return {perform(context, name) for name, _ in self._arguments}


class Shutdown(Action):
    """Ends the launch: every process is stopped."""

    def __init__(self, *, reason: SomeText = "reason not given", condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self._reason = reason

    def execute(self, context: LaunchContext) -> None:
        if context.supervisor is not None:
            context.supervisor.stop(perform(context, self._reason))


def declared_arguments(
    entities: Iterable[LaunchDescriptionEntity], context: LaunchContext, given: frozenset[str] = frozenset()
) -> list[DeclareLaunchArgument]:
    """Arguments a user can set: those of the file and of its includes, without those that the file hands over."""
    found: dict[str, DeclareLaunchArgument] = {}
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            if entity.name not in given:
                found.setdefault(entity.name, entity)
        elif isinstance(entity, IncludeLaunchDescription):
            try:
                inner = entity.load(context).entities
            except UserError:
                continue  # its path depends on an argument
            for argument in declared_arguments(inner, context, given | entity.given(context)):
                found.setdefault(argument.name, argument)
        elif isinstance(entity, Action):
            for argument in declared_arguments(entity.sub_entities(), context, given):
                found.setdefault(argument.name, argument)
    return list(found.values())
