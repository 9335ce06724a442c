"""``ros2 param``: get, set."""

from __future__ import annotations

from typing import Annotated

import typer
from rcl_interfaces.msg import Parameter, ParameterType
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import get_parameter_value, parameter_value_to_python

from ros2_lite.errors import UserError
from ros2_lite.graph import call, graph_node, require_node

verbs = typer.Typer(help="get, set", no_args_is_help=True)
_LABELS = {
    ParameterType.PARAMETER_BOOL: "Boolean value is:",
    ParameterType.PARAMETER_INTEGER: "Integer value is:",
    ParameterType.PARAMETER_DOUBLE: "Double value is:",
    ParameterType.PARAMETER_STRING: "String value is:",
}


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.add_typer(verbs, name="param")


@verbs.command()
def get(node_name: str, parameter_name: str) -> None:
    """Print a parameter's value."""
    with graph_node() as node:
        request = GetParameters.Request(names=[parameter_name])
        values = call(node, GetParameters, f"{require_node(node, node_name)}/get_parameters", request).values
    if not values or values[0].type == ParameterType.PARAMETER_NOT_SET:
        raise UserError("Parameter not set")
    value = parameter_value_to_python(values[0])
    print(_LABELS.get(values[0].type, "Values are:"), value if isinstance(value, str) else repr(value))


@verbs.command("set")
def set_parameter(
    node_name: str,
    parameter_name: str,
    value: Annotated[str, typer.Argument(help="as YAML: 1 is an integer, 1.0 a double, '\"1\"' a string")],
) -> None:
    """Set a parameter."""
    request = SetParameters.Request(parameters=[Parameter(name=parameter_name, value=get_parameter_value(value))])
    with graph_node() as node:
        answer = call(node, SetParameters, f"{require_node(node, node_name)}/set_parameters", request)
    result = answer.results[0]
    said = f": {result.reason}" if result.reason else ""
    if not result.successful:
        raise UserError(f"Setting parameter failed{said}")
    print(f"Set parameter successful{said}")
