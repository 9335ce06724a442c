"""``ros2 launch``: start what a launch file describes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from ros2_lite.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("package_name", metavar="package_name_or_file", help="package, or path of a launch file")
    parser.add_argument("launch_file_name", nargs="?", help="launch file of the package, when one was named")
    parser.add_argument("launch_arguments", nargs="*", help="name:=value, see --show-args")
    listing = parser.add_mutually_exclusive_group()
    listing.add_argument("-p", "--print", "--print-description", action="store_true", help=argparse.SUPPRESS)
    listing.add_argument("-s", "--show-args", "--show-arguments", action="store_true", help="list the arguments")
    parser.add_argument("-n", "--noninteractive", action="store_true", help="accepted; it makes no difference here")


def run(arguments: argparse.Namespace) -> int:
    """Launch, or list the arguments; returns the exit status."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stand_ins"))
    from ros2_lite.stand_in import RefuseModules

    RefuseModules().install()
    from ros2_lite.launching.actions import IncludeLaunchDescription, declared_arguments
    from ros2_lite.launching.context import LaunchContext
    from ros2_lite.launching.description import PythonLaunchDescriptionSource
    from ros2_lite.launching.supervisor import Supervisor

    if arguments.print:
        raise UserError("ros2_lite does not implement --print-description")
    path, given = _launch_file(arguments)
    source = PythonLaunchDescriptionSource(str(path))
    if arguments.show_args:
        print("Arguments (pass arguments as '<name>:=<value>'):")
        declared = declared_arguments(source.load(LaunchContext()).entities, LaunchContext())
        print("\n".join(argument.show() for argument in declared) or "\n  No arguments.")
        return 0
    values = [_parse(argument) for argument in given]
    supervisor = Supervisor()
    try:
        try:
            IncludeLaunchDescription(source, launch_arguments=values).visit(LaunchContext(supervisor))
        except Exception as error:
            supervisor.fail(error)
        return supervisor.run()
    finally:
        supervisor.close()


def _launch_file(arguments: argparse.Namespace) -> tuple[Path, list[str]]:
    first, second, rest = arguments.package_name, arguments.launch_file_name, list(arguments.launch_arguments)
    if Path(first).is_file():
        return Path(first), ([second] if second else []) + rest
    if first.endswith(".py") or "/" in first:
        raise UserError(f"launch file '{first}' does not exist")
    if second is None or ":=" in second:
        raise UserError(f"'{first}' is no file; for a package, name its launch file, too: ros2 launch {first} FILE")
    try:
        share = Path(get_package_share_directory(first))
    except (PackageNotFoundError, ValueError):
        raise UserError(f"package '{first}' not found; has the workspace been built (make setup)?") from None
    found = sorted(path for path in share.rglob(second) if path.is_file())
    if not found:
        there = sorted(path.name for path in share.rglob("*.launch.py"))
        raise UserError(
            f"file '{second}' was not found in the share directory of package '{first}' which is at '{share}'"
            + (f"; it has {', '.join(there)}" if there else "")
        )
    return found[0], rest


def _parse(argument: str) -> tuple[str, str]:
    name, separator, value = argument.partition(":=")
    if not separator or not name:
        raise UserError(f"malformed launch argument '{argument}', expected format '<name>:=<value>'")
    return name, value
