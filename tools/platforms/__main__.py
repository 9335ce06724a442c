"""Tested versions and test results per platform: ``tools/run_script.sh tools/platforms COMMAND``."""

from __future__ import annotations

import argparse
import sys

from platforms.resolve import Resolved, ResolveError, lock, resolve_all
from platforms.suites import SUITES, platform_name, run_suites, suites_of, table


def main() -> int:
    """Run one of the commands; return the exit status."""
    parser = argparse.ArgumentParser(prog="platforms", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock", help="choose versions anew into requirements/constraints (needs uv)")
    commands.add_parser("resolve", help="resolve what make setup would install on every platform (needs uv)")
    test = commands.add_parser("test", help="run every test here, package by package, and print the table")
    test.add_argument("suites", nargs="*", help=f"only these: {', '.join(path.name for path in SUITES)}")
    commands.add_parser("table", help="print the results of all platforms in out/platforms")
    given = parser.parse_args()
    try:
        if given.command == "lock":
            print("\n".join(str(path) for path in lock()))
        elif given.command == "resolve":
            return _print_resolved(resolve_all())
        elif given.command == "test":
            name = platform_name()
            passed = run_suites(name, suites_of(name, given.suites))
            print(table())
            return 0 if passed else 1
        else:
            print(table())
    except ResolveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_resolved(found: list[Resolved]) -> int:
    print("| platform | Python | packages | torch | transformers | numpy |\n|---|---|---:|---|---|---|")
    for one in found:
        versions = [one.packages.get(name, "-") for name in ("torch", "transformers", "numpy")]
        result = f"{len(one.packages)} | {' | '.join(versions)}" if one.packages else f"**fails** | {one.error} | | "
        print(f"| {one.platform.name} | {one.platform.python} | {result} |", flush=True)
    return 1 if any(one.error for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
