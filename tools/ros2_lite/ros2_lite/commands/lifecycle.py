"""``ros2 lifecycle``: get, set."""

from __future__ import annotations

from typing import Annotated

import typer
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState

from ros2_lite.errors import UserError
from ros2_lite.graph import call, graph_node, require_node

verbs = typer.Typer(help="get, set", no_args_is_help=True)
#: A transition may load a model.
_TRANSITION_TIMEOUT_S = 300.0


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.add_typer(verbs, name="lifecycle")


@verbs.command()
def get(node_name: str) -> None:
    """Print the lifecycle state of a node."""
    with graph_node() as node:
        state = call(node, GetState, f"{require_node(node, node_name)}/get_state", GetState.Request()).current_state
    print(f"{state.label} [{state.id}]")


@verbs.command("set")
def set_state(
    node_name: str,
    transition: Annotated[str, typer.Argument(help="configure, activate, deactivate, cleanup, shutdown")],
) -> None:
    """Trigger a transition and wait for its end."""
    with graph_node() as node:
        name = require_node(node, node_name)
        request = GetAvailableTransitions.Request()
        answer = call(node, GetAvailableTransitions, f"{name}/get_available_transitions", request)
        available = {item.transition.label: item.transition for item in answer.available_transitions}
        if transition not in available:
            listed = "\n".join(f"- {item.label} [{item.id}]" for item in available.values())
            raise UserError(f"Unknown transition requested, available ones are:\n{listed}")
        change = ChangeState.Request(transition=available[transition])
        if not call(node, ChangeState, f"{name}/change_state", change, _TRANSITION_TIMEOUT_S).success:
            raise UserError("Transitioning failed")
    print("Transitioning successful")
