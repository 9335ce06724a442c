"""``ros2 run``: start one executable of a package."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ros2_lite.packages import find_executable


def add_to(app: typer.Typer) -> None:
    """Declare the command; options behind the executable are its own."""
    app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run)


def run(
    package: str,
    executable: str,
    arguments: Annotated[list[str] | None, typer.Argument(help="for the executable: --ros-args -p a:=1")] = None,
) -> None:
    """Run an executable of a package."""
    path = find_executable(package, executable)
    # It takes over this process, so that signals and the terminal are its own.
    os.execv(path, [path, *(arguments or [])])
