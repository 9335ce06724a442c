"""Parameters of policy_node: read-only ones are read once, the others are checked whenever they are set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from mobile_vla_data.contract import Contract
from mobile_vla_policy.engine.choices import EngineOptions
from mobile_vla_policy.runtime.scheduler import SchedulerOptions
from mobile_vla_policy.runtime.settings import SETTINGS, clean
from mobile_vla_ros.parameters import compressed_images, load_contract, number, path, stamping
from mobile_vla_ros.run import StartError


@dataclass(frozen=True)
class FixedParameters:
    """Parameters that are read once."""

    contract: Contract
    stamped: bool | None
    """True for TwistStamped, False for Twist, None for auto."""
    rate_hz: float
    """Rate of commands [Hz]."""
    observation_timeout_s: float
    """A policy/execute goal ends when a required input is silent for this long [s]."""
    done_after_s: float
    """A policy/execute goal ends when the policy has stood still for this long after moving [s]; 0: never."""
    inference_timeout_s: float
    """A forward pass that has not returned for this long is an error [s]."""
    compressed: bool
    """Cameras publish JPEGs."""
    trace_file: Path | None
    """File for a Chrome trace, written on deactivation."""

    @classmethod
    def of(cls, node: Any) -> FixedParameters:
        """Declare them on a node and read them."""
        contract = load_contract(node)
        stamped = stamping(node)
        rate = "rate of commands to the gate [Hz]; 0: control_rate_hz of the contract"
        declared_hz = number(node, "command_rate_hz", 0.0, rate, at_least=0, at_most=200)
        silence = "a policy/execute goal ends when a required input is silent for this long [s]"
        observation_timeout_s = number(node, "observation_timeout_s", 2.0, silence, above=0)
        still = "a policy/execute goal ends with ARRIVED when the policy has stood still for this long after moving [s]"
        done_after_s = number(node, "done_after_s", 2.0, f"{still}; 0: never", at_least=0)
        stuck = "a forward pass that has not returned for this long is an error [s]"
        inference_timeout_s = number(node, "inference_timeout_s", 5.0, stuck, above=0)
        compressed = compressed_images(node)
        trace = path(node, "trace", "file for a Chrome trace of every forward pass, written on deactivation")
        return cls(
            contract,
            stamped,
            declared_hz or contract.control_rate_hz,
            observation_timeout_s,
            done_after_s,
            inference_timeout_s,
            compressed,
            trace,
        )


class SettableParameters:
    """Declares :data:`SETTINGS` on a node and keeps their values.

    ``refuse(changes)`` returns why well-formed changes cannot be made now, in one line, or an empty string;
    ``changed(changes)`` is called after they were made.
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
            # Dynamic typing: this class refuses a wrong type in one line, and accepts 1 for 1.0.
            descriptor = ParameterDescriptor(description=setting.description, dynamic_typing=True)
            value = node.declare_parameter(name, setting.default, descriptor).value
            try:
                self._values[name] = clean(name, value)
            except ValueError as error:
                raise StartError(f"{node.get_name()}: parameter {error}") from None
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a parameter."""
        return self._values[name]

    @property
    def values(self) -> Mapping[str, Any]:
        """Values of all parameters."""
        return self._values

    @property
    def scheduler(self) -> SchedulerOptions:
        """Options of the chunk scheduler."""
        return SchedulerOptions(**{name: self._values[name] for name in SchedulerOptions.__dataclass_fields__})

    @property
    def engine(self) -> EngineOptions:
        """Options of execution. Raises ValueError if the parameters contradict each other."""
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
