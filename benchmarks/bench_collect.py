"""make bench-collect: what collecting costs. Each part is a module with ``measure(quick)``; see their docstrings."""

from __future__ import annotations

import argparse
import sys

import collect_data
import collect_ros
from common import machine, report

PARTS = (collect_data, collect_ros)


def main() -> int:
    """Measure every part, print the table, write out/bench/collect.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    quick = parser.parse_args().quick
    on = machine()
    figures = [figure for part in PARTS for figure in part.measure(quick)]
    return report("collect", figures, quick=quick, on=on)


if __name__ == "__main__":
    sys.exit(main())
