"""``ros2 node``: list."""

from __future__ import annotations

import typer

from ros2_lite.graph import full_name, print_names

verbs = typer.Typer(help="list", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.add_typer(verbs, name="node")


@verbs.callback()
def _command() -> None:
    pass


@verbs.command("list")
def list_nodes() -> None:
    """Print the names of the nodes."""
    print_names(
        lambda node: [(full_name(*pair), []) for pair in node.get_node_names_and_namespaces()], show_types=False
    )
