"""``ros2 launch``: start what a launch file describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ros2_lite.errors import UserError
from ros2_lite.launching import stand_ins
from ros2_lite.launching.actions import IncludeLaunchDescription, declared_arguments
from ros2_lite.launching.context import LaunchContext
from ros2_lite.launching.description import PythonLaunchDescriptionSource
from ros2_lite.launching.supervisor import Supervisor
from ros2_lite.packages import find_launch_file


def add_to(app: typer.Typer) -> None:
    """Declare the command."""
    app.command()(launch)


def launch(
    words: Annotated[list[str], typer.Argument(metavar="PACKAGE FILE | PATH  [NAME:=VALUE]...")],
    show_args: Annotated[bool, typer.Option("-s", "--show-args", help="list the arguments")] = False,
) -> None:
    """Run a launch file."""
    stand_ins.install()
    path, *given = [Path(words[0]), *words[1:]] if Path(words[0]).is_file() else _of_package(words)
    source = PythonLaunchDescriptionSource(str(path))
    if show_args:
        print("Arguments (pass arguments as '<name>:=<value>'):")
        declared = declared_arguments(source.load(LaunchContext()).entities)
        print("\n".join(argument.show() for argument in declared) or "\n  No arguments.")
        return
    arguments = [_parse(str(argument)) for argument in given]
    with Supervisor() as supervisor:
        context = LaunchContext(supervisor)
        begin = IncludeLaunchDescription(source, launch_arguments=arguments)
        raise typer.Exit(supervisor.run(lambda: begin.visit(context)))


def _of_package(words: list[str]) -> list[Path | str]:
    package, *rest = words
    if package.endswith(".py") or "/" in package:
        raise UserError(f"launch file '{package}' does not exist")
    if not rest or ":=" in rest[0]:
        raise UserError(
            f"'{package}' is not a file; for a package, also name its launch file: ros2 launch {package} FILE"
        )
    return [find_launch_file(package, rest[0]), *rest[1:]]


def _parse(argument: str) -> tuple[str, str]:
    name, separator, value = argument.partition(":=")
    if not separator or not name:
        raise UserError(f"malformed launch argument '{argument}', expected format '<name>:=<value>'")
    return name, value
