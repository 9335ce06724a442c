"""``ros2 interface``: list, package, show."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from ament_index_python.resources import get_resource, get_resources

from ros2_lite.cli import add_verb, run_verb, verbs_of
from ros2_lite.errors import UserError

run = run_verb
_TITLES = {"msg": "Messages", "srv": "Services", "action": "Actions"}
_FIELD = re.compile(r"^(?P<type>[A-Za-z][\w/]*)(<=\d+)?(\[[^]]*\])?\s+\w+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    verbs = verbs_of(parser)
    verb = add_verb(verbs, "list", "List all interface types available", list_interfaces)
    for flag, kind in (("-m", "msg"), ("-s", "srv"), ("-a", "action")):
        verb.add_argument(flag, f"--only-{kind}s", dest="only", action="store_const", const=kind, help=f"only {kind}")
    verb = add_verb(verbs, "package", "Output the interfaces of one package", list_package)
    verb.add_argument("package_name", help="package, for example mobile_vla_msgs")
    verb = add_verb(verbs, "show", "Output an interface definition", show)
    verb.add_argument("type", help="for example mobile_vla_msgs/msg/RecorderStatus")
    verb.add_argument("--no-comments", action="store_true", help="leave comments out")
    verb.add_argument("--all-comments", action="store_true", help="comments of nested types, too")


def interfaces_of(package: str) -> list[str]:
    """Names such as ``msg/Image``. Raises UserError for a package without interfaces."""
    try:
        content, _ = get_resource("rosidl_interfaces", package)
    except LookupError:
        raise UserError(f"Unknown package '{package}', or it has no interfaces") from None
    names = {Path(line).with_suffix("").as_posix() for line in content.splitlines() if line}
    return sorted(
        name for name in names if name.split("/")[0] in _TITLES and not name.endswith(("_Request", "_Response"))
    )


def list_interfaces(arguments: argparse.Namespace) -> int:
    """Print every interface, by kind."""
    names = [
        f"{package}/{name}" for package in sorted(get_resources("rosidl_interfaces")) for name in interfaces_of(package)
    ]
    for kind, title in _TITLES.items():
        if arguments.only in (None, kind):
            print(f"{title}:")
            print("\n".join(f"    {name}" for name in names if name.split("/")[1] == kind))
    return 0


def list_package(arguments: argparse.Namespace) -> int:
    """Print the interfaces of a package."""
    print("\n".join(f"{arguments.package_name}/{name}" for name in interfaces_of(arguments.package_name)))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print a definition, nested types indented below their fields."""
    for line in definition(arguments.type, not arguments.no_comments, arguments.all_comments):
        print(line)
    return 0


def definition(
    name: str, comments: bool, nested_comments: bool, kinds: tuple[str, ...] = tuple(_TITLES)
) -> Iterator[str]:
    """Lines of an interface definition. Raises UserError when there is none."""
    package = name.split("/")[0]
    for line in _file(name, kinds).read_text(encoding="utf-8").splitlines():
        shown = line if comments else line.split("#")[0].rstrip()
        if shown.strip() or comments:
            yield shown
        field = _FIELD.match(line)
        if field is None or "=" in line.split("#")[0].replace("<=", ""):
            continue
        inner = field["type"]
        if "/" in inner or inner[0].isupper():
            nested = inner if "/" in inner else f"{package}/{inner}"
            for below in definition(nested, nested_comments, nested_comments, ("msg",)):
                yield f"\t{below}"


def _file(name: str, kinds: tuple[str, ...]) -> Path:
    parts = name.split("/")
    package, base = parts[0], parts[-1]
    if len(parts) == 3:
        kinds = (parts[1],)
    try:
        share = Path(get_package_share_directory(package))
    except (PackageNotFoundError, ValueError):
        raise UserError(f"Unknown package '{package}'") from None
    for kind in kinds:
        path = share / kind / f"{base}.{kind}"
        if len(parts) in (2, 3) and path.is_file():
            return path
    raise UserError(f"Unknown interface '{name}'; expected package/msg/Name, package/srv/Name or package/action/Name")
