"""``ros2 action``: list, info, send_goal."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.graph import (
    get_action_client_names_and_types_by_node,
    get_action_names_and_types,
    get_action_server_names_and_types_by_node,
)

from ros2_lite.cli import (
    add_verb,
    full_name,
    graph_node,
    interface,
    resolve,
    run_verb,
    settle,
    values,
    verbs_of,
    wait_for,
)
from ros2_lite.errors import UserError
from ros2_lite.messages import Format, fill, to_yaml

run = run_verb
_STATUS = {
    getattr(GoalStatus, f"STATUS_{name}"): name
    for name in ("UNKNOWN", "ACCEPTED", "EXECUTING", "CANCELING", "SUCCEEDED", "CANCELED", "ABORTED")
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "Output a list of action names", list_actions)
    verb.add_argument("-t", "--show-types", action="store_true", help="show the types, too")
    verb.add_argument("-c", "--count-actions", action="store_true", help="only show their number")
    verb = add_verb(verbs, "info", "Print information about an action", show_info)
    verb.add_argument("action_name", help="action, for example /policy/execute")
    verb = add_verb(verbs, "send_goal", "Send an action goal", send_goal)
    verb.add_argument("action_name", help="action, for example /policy/execute")
    verb.add_argument("action_type", help="its type, for example mobile_vla_msgs/action/ExecuteInstruction")
    verb.add_argument("goal", help="fields of the goal as YAML")
    verb.add_argument("-f", "--feedback", action="store_true", help="print the feedback")


def list_actions(arguments: argparse.Namespace) -> int:
    """Print the actions."""
    with graph_node() as node:
        actions = settle(node, lambda: sorted(get_action_names_and_types(node)))
    if arguments.count_actions:
        print(len(actions))
        return 0
    for name, types in actions:
        print(f"{name} [{', '.join(types)}]" if arguments.show_types else name)
    return 0


def show_info(arguments: argparse.Namespace) -> int:
    """Print clients and servers of an action."""
    wanted = resolve(arguments.action_name)
    with graph_node() as node:
        pairs = settle(node, lambda: sorted(node.get_node_names_and_namespaces()))
        print(f"Action: {wanted}")
        for title, look in (
            ("Action clients", get_action_client_names_and_types_by_node),
            ("Action servers", get_action_server_names_and_types_by_node),
        ):
            found = [full_name(*pair) for pair in pairs if wanted in dict(look(node, *pair))]
            print("\n    ".join([f"{title}: {len(found)}", *found]))
    return 0


def send_goal(arguments: argparse.Namespace) -> int:
    """Send a goal, wait for its result; Ctrl-C cancels it."""
    kind = interface(arguments.action_type, "action")
    goal = kind.Goal()
    fill(goal, values(arguments.goal))
    with graph_node() as node:
        client = ActionClient(node, kind, resolve(arguments.action_name))
        print("Waiting for an action server to become available...", flush=True)
        while not client.wait_for_server(0.5):
            continue
        print(f"Sending goal:\n{_indented(goal)}\n", flush=True)
        sent = client.send_goal_async(goal, _print_feedback if arguments.feedback else None)
        _wait(sent)
        handle = sent.result()
        if not handle.accepted:
            raise UserError("Goal was rejected.")
        print(f"Goal accepted with ID: {bytes(handle.goal_id.uuid).hex()}\n", flush=True)
        result = handle.get_result_async()
        try:
            _wait(result)
        except KeyboardInterrupt:
            print("Canceling goal...", flush=True)
            wait_for(handle.cancel_goal_async().done, 5.0)
            if wait_for(result.done, 5.0):
                _print_result(result.result())
            raise
        _print_result(result.result())
        client.destroy()
        return 0 if result.result().status == GoalStatus.STATUS_SUCCEEDED else 1


def _wait(future: Any) -> None:
    while not wait_for(future.done, 1.0):
        continue


def _indented(message: Any) -> str:
    return textwrap.indent(to_yaml(message, Format()), "    ")


def _print_feedback(message: Any) -> None:
    print(f"Feedback:\n{_indented(message.feedback)}", flush=True)


def _print_result(answer: Any) -> None:
    print(f"Result:\n{_indented(answer.result)}")
    print(f"Goal finished with status: {_STATUS.get(answer.status, answer.status)}", flush=True)
