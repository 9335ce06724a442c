"""Parameters of policy_node: read-only ones are read once, the others are checked whenever they are set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from mobile_vla_policy.engine.choices import EngineOptions
from mobile_vla_policy.runtime.scheduler import SchedulerOptions
from mobile_vla_policy.runtime.settings import SETTINGS, clean
from mobile_vla_ros.run import StartError


class SettableParameters:
    """Declares :data:`SETTINGS` on a node and keeps their values.

    ``refuse(changes)`` returns why changes that are well-formed cannot be made now, in one line, or an empty string;
    ``changed(changes)`` is called once they are made.
    """

    def __init__(
        self,
        node: Any,
        refuse: Callable[[Mapping[str, Any]], str],
        changed: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._refuse, self._changed = refuse, changed
        self._values: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            # Dynamic typing: a wrong type is refused by us, in one line, and 1 does where 1.0 is meant.
            descriptor = ParameterDescriptor(description=setting.description, dynamic_typing=True)
            value = node.declare_parameter(name, setting.default, descriptor).value
            try:
                self._values[name] = clean(name, value)
            except ValueError as error:
                raise StartError(f"{node.get_name()}: parameter {error}") from None
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter."""
        return self._values[name]

    @property
    def scheduler(self) -> SchedulerOptions:
        """The options of the chunk scheduler."""
        return SchedulerOptions(**{name: self._values[name] for name in SchedulerOptions.__dataclass_fields__})

    @property
    def engine(self) -> EngineOptions:
        """How the network is to be executed; raises ValueError when the parameters contradict each other."""
        options = EngineOptions(**{name: self._values[name] for name in EngineOptions.__dataclass_fields__})
        if problem := options.problem():
            raise ValueError(problem)
        return options

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            changes = {item.name: clean(item.name, item.value) for item in parameters if item.name in SETTINGS}
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if reason := self._refuse(changes):
            return SetParametersResult(successful=False, reason=reason)
        self._values.update(changes)
        self._changed(changes)
        return SetParametersResult(successful=True)
