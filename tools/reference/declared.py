"""Build one node and print what it declares: ``python -m reference.declared MODULE --ros-args ...``.

The node is the real one. It ends before it is spun: nothing is published, and no thread outlives it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import Executor
from rclpy.node import Node

#: Declared by rclpy itself.
OF_EVERY_NODE = ("use_sim_time", "start_type_description_service")
declared: dict[str, dict[str, Any]] = {}
_declare = Node.declare_parameter


def declare(node: Node, name: str, value: Any = None, descriptor: Any = None, *arguments: Any, **more: Any) -> Any:
    """Note a declaration, then declare the parameter."""
    about = descriptor or ParameterDescriptor()
    declared[name] = {
        "name": name,
        "default": value,
        "description": about.description,
        "allowed": about.additional_constraints,
    }
    return _declare(node, name, value, *([descriptor] if descriptor is not None else []), *arguments, **more)


def finish(_executor: Executor, _node: Node) -> bool:
    """Print the declarations instead of spinning the node; the process ends here."""
    shown = [parameter for name, parameter in declared.items() if name not in OF_EVERY_NODE]
    print("\nDECLARED " + json.dumps(shown), flush=True)
    os._exit(0)


if __name__ == "__main__":
    Node.declare_parameter = declare
    Executor.add_node = finish
    module = sys.argv.pop(1)
    importlib.import_module(module).main()
