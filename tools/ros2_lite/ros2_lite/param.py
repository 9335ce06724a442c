"""``ros2 param``: list, get, set."""

from __future__ import annotations

import argparse
from typing import Any

import yaml
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters

from ros2_lite.cli import add_verb, call, graph_node, node_names, require_node, run_verb, verbs_of
from ros2_lite.errors import UserError

run = run_verb

#: Type, the field of ParameterValue that holds it, and what the real tool calls it.
_KINDS = {
    ParameterType.PARAMETER_BOOL: ("bool_value", "Boolean value is:"),
    ParameterType.PARAMETER_INTEGER: ("integer_value", "Integer value is:"),
    ParameterType.PARAMETER_DOUBLE: ("double_value", "Double value is:"),
    ParameterType.PARAMETER_STRING: ("string_value", "String value is:"),
    ParameterType.PARAMETER_BYTE_ARRAY: ("byte_array_value", "Byte values are:"),
    ParameterType.PARAMETER_BOOL_ARRAY: ("bool_array_value", "Boolean values are:"),
    ParameterType.PARAMETER_INTEGER_ARRAY: ("integer_array_value", "Integer values are:"),
    ParameterType.PARAMETER_DOUBLE_ARRAY: ("double_array_value", "Double values are:"),
    ParameterType.PARAMETER_STRING_ARRAY: ("string_array_value", "String values are:"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "Output a list of available parameters", list_parameters)
    verb.add_argument("node_name", nargs="?", help="only of this node")
    verb = add_verb(verbs, "get", "Get a parameter", get_parameter)
    verb.add_argument("node_name", help="node, for example /command_gate_node")
    verb.add_argument("parameter_name", help="parameter")
    verb.add_argument("--hide-type", action="store_true", help="print the value only")
    verb = add_verb(verbs, "set", "Set a parameter", set_parameter)
    verb.add_argument("node_name", help="node, for example /command_gate_node")
    verb.add_argument("parameter_name", help="parameter")
    verb.add_argument("value", help="value as YAML: 1 is an integer, 1.0 a double, '\"1\"' a string")


def list_parameters(arguments: argparse.Namespace) -> int:
    """Print the names of the parameters, by node."""
    with graph_node() as node:
        wanted = [require_node(node, arguments.node_name)] if arguments.node_name else node_names(node)
        for name in wanted:
            try:
                answer = call(node, ListParameters, f"{name}/list_parameters", ListParameters.Request())
            except UserError:
                if arguments.node_name:
                    raise
                continue  # a node without parameter services
            if not arguments.node_name:
                print(f"{name}:")
            for parameter in sorted(answer.result.names):
                print(f"  {parameter}")
    return 0


def get_parameter(arguments: argparse.Namespace) -> int:
    """Print a parameter's value."""
    with graph_node() as node:
        name = require_node(node, arguments.node_name)
        request = GetParameters.Request(names=[arguments.parameter_name])
        answer = call(node, GetParameters, f"{name}/get_parameters", request)
    if not answer.values or answer.values[0].type == ParameterType.PARAMETER_NOT_SET:
        raise UserError("Parameter not set")
    field, label = _KINDS[answer.values[0].type]
    value = getattr(answer.values[0], field)
    shown = list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
    print(shown if arguments.hide_type else f"{label} {shown}")
    return 0


def set_parameter(arguments: argparse.Namespace) -> int:
    """Set a parameter."""
    parameter = Parameter(name=arguments.parameter_name, value=parameter_value(arguments.value))
    with graph_node() as node:
        name = require_node(node, arguments.node_name)
        request = SetParameters.Request(parameters=[parameter])
        answer = call(node, SetParameters, f"{name}/set_parameters", request)
    result = answer.results[0]
    if not result.successful:
        raise UserError(f"Setting parameter failed: {result.reason}" if result.reason else "Setting parameter failed")
    print(f"Set parameter successful: {result.reason}" if result.reason else "Set parameter successful")
    return 0


def parameter_value(text: str) -> ParameterValue:
    """Read a value as YAML reads it; what is no number, truth value or list of one kind is text."""
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if isinstance(value, list):
        for kind, type_ in (
            (bool, ParameterType.PARAMETER_BOOL_ARRAY),
            (int, ParameterType.PARAMETER_INTEGER_ARRAY),
            (float, ParameterType.PARAMETER_DOUBLE_ARRAY),
            (str, ParameterType.PARAMETER_STRING_ARRAY),
        ):
            if value and all(type(item) is kind for item in value):
                return ParameterValue(**{"type": type_, _KINDS[type_][0]: value})
        raise UserError(f"'{text}' is no list of one kind of value")
    for kind, type_ in (
        (bool, ParameterType.PARAMETER_BOOL),
        (int, ParameterType.PARAMETER_INTEGER),
        (float, ParameterType.PARAMETER_DOUBLE),
    ):
        if type(value) is kind:
            return ParameterValue(**{"type": type_, _KINDS[type_][0]: value})
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value if isinstance(value, str) else text)
