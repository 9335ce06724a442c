"""``ros2 run``: start one executable of a package."""

from __future__ import annotations

import argparse
import os
import shlex

from ros2_lite.launching.node import find_executable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--prefix", default="", help="command to put before the executable, such as 'gdb -ex run --args'"
    )
    parser.add_argument("package_name", help="package")
    parser.add_argument("executable_name", help="executable of the package")
    parser.add_argument(
        "argv", nargs=argparse.REMAINDER, help="handed to the executable, for example --ros-args -p a:=1"
    )


def run(arguments: argparse.Namespace) -> int:
    """Become the executable, so that signals and the terminal are its own."""
    path = find_executable(arguments.package_name, arguments.executable_name)
    command = [*shlex.split(arguments.prefix), path, *arguments.argv]
    os.execvp(command[0], command)
