"""The command line: ``ros2 COMMAND [VERB] …``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import typer

from ros2_lite.errors import UserError

#: A module of ``ros2_lite.commands`` each.
COMMANDS = ("launch", "lifecycle", "node", "param", "run", "service", "topic")


def main() -> NoReturn:
    """Run one command and exit: 0 done, 1 failed with one line on stderr, 2 wrong usage, 130 after Ctrl-C."""
    # Message setters then check types and say what is wrong. Read when a message class is imported.
    os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
    about = "Stand-in for the ros2 command (tools/ros2_lite), for machines without a ROS 2 distribution."
    app = typer.Typer(help=about, no_args_is_help=True, add_completion=False)
    # Only what is asked for is imported: rclpy takes a quarter of a second.
    asked = [name for name in COMMANDS if sys.argv[1:2] == [name]]
    for name in asked or COMMANDS:
        importlib.import_module(f"ros2_lite.commands.{name}").add_to(app)
    app.callback()(lambda: None)  # a group, even with one command
    try:
        app(prog_name="ros2")
    except UserError as error:
        print(error, file=sys.stderr)
    sys.exit(1)
