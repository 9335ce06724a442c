"""The command line: ``ros2 COMMAND [VERB] …``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from ros2_lite.errors import UserError

#: Command, its module, its one line of help.
COMMANDS = {
    "action": ("action", "action list | info | send_goal"),
    "interface": ("interface", "interface list | show | package"),
    "launch": ("launch", "run a launch file"),
    "lifecycle": ("lifecycle", "lifecycle nodes | get | set | list"),
    "node": ("node", "node list | info"),
    "param": ("param", "param list | get | set"),
    "run": ("run", "run a package's executable"),
    "service": ("service", "service list | type | call"),
    "topic": ("topic", "topic list | echo | hz | info | type | pub"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="ros2",
        description="Stand-in for the ros2 command (tools/ros2_lite), for machines without a ROS 2 distribution.",
    )
    commands = parser.add_subparsers(metavar="command", dest="command")
    module = None
    for name, (module_name, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        # Only the module that is asked for is imported: rclpy takes a quarter of a second.
        if words[:1] == [name]:
            module = importlib.import_module(f"ros2_lite.{module_name}")
            module.add_arguments(command)
    arguments = parser.parse_args(words)
    if module is None:
        parser.print_help()
        return 0
    try:
        return int(module.run(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `ros2 topic echo … | head`: nothing is wrong, but Python must not complain while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
