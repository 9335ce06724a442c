"""``ros2 lifecycle``: nodes, get, set, list."""

from __future__ import annotations

import argparse
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rclpy.node import Node

from ros2_lite.cli import add_verb, call, graph_node, print_names, require_node, run_verb, settle, verbs_of
from ros2_lite.errors import UserError

run = run_verb
_STATE_TYPE = "lifecycle_msgs/srv/GetState"
#: A transition may load a model.
_TRANSITION_TIMEOUT_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "nodes", "Output a list of nodes with lifecycle", list_nodes)
    verb.add_argument("-c", "--count-nodes", action="store_true", help="only show their number")
    verb = add_verb(verbs, "get", "Get the lifecycle state of one or more nodes", get_state)
    verb.add_argument("node_name", nargs="?", help="node, for example /recorder_node; all when left out")
    verb = add_verb(verbs, "list", "Output the available transitions of a node", list_transitions)
    verb.add_argument("node_name", help="node, for example /recorder_node")
    verb = add_verb(verbs, "set", "Trigger a lifecycle transition", set_state)
    verb.add_argument("node_name", help="node, for example /recorder_node")
    verb.add_argument("transition", help="configure, activate, deactivate, cleanup, shutdown, or its number")


def lifecycle_nodes(node: Node) -> list[str]:
    """Names of the nodes that have a lifecycle."""
    services = settle(node, lambda: sorted(node.get_service_names_and_types()))
    return [name.removesuffix("/get_state") for name, types in services if _STATE_TYPE in types]


def list_nodes(arguments: argparse.Namespace) -> int:
    """Print them."""
    with graph_node() as node:
        names = lifecycle_nodes(node)
    print_names(names, arguments.count_nodes)
    return 0


def state_of(node: Node, name: str) -> str:
    """Current state as ``label [id]``."""
    state = call(node, GetState, f"{name}/get_state", GetState.Request()).current_state
    return f"{state.label} [{state.id}]"


def get_state(arguments: argparse.Namespace) -> int:
    """Print the state of one node, or of all."""
    with graph_node() as node:
        if arguments.node_name:
            print(state_of(node, require_node(node, arguments.node_name)))
        else:
            for name in lifecycle_nodes(node):
                print(f"{name}: {state_of(node, name)}")
    return 0


def transitions_of(node: Node, name: str) -> list[Any]:
    """Transitions that are possible now."""
    request = GetAvailableTransitions.Request()
    return list(call(node, GetAvailableTransitions, f"{name}/get_available_transitions", request).available_transitions)


def list_transitions(arguments: argparse.Namespace) -> int:
    """Print them."""
    with graph_node() as node:
        for item in transitions_of(node, require_node(node, arguments.node_name)):
            print(f"- {item.transition.label} [{item.transition.id}]")
            print(f"\tStart: {item.start_state.label}\n\tGoal: {item.goal_state.label}")
    return 0


def set_state(arguments: argparse.Namespace) -> int:
    """Trigger a transition and wait for its end."""
    with graph_node() as node:
        name = require_node(node, arguments.node_name)
        available = [item.transition for item in transitions_of(node, name)]
        wanted = [item for item in available if arguments.transition in (item.label, str(item.id))]
        if not wanted:
            listed = "\n".join(f"- {item.label} [{item.id}]" for item in available)
            raise UserError(f"Unknown transition requested, available ones are:\n{listed}")
        request = ChangeState.Request(transition=Transition(id=wanted[0].id, label=wanted[0].label))
        answer = call(node, ChangeState, f"{name}/change_state", request, _TRANSITION_TIMEOUT_S)
    if not answer.success:
        raise UserError("Transitioning failed")
    print("Transitioning successful")
    return 0
