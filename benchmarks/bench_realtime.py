"""make bench-realtime: the policy in the running system. Each part is a module with ``measure(...)``; see there."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import realtime_backends
import realtime_graph
import realtime_memory
from common import machine, report
from realtime_checkpoint import trained_checkpoint


def main() -> int:
    """Measure every part, print the table, write out/bench/realtime.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    checkpoint_help = "drive with this one; by default that of make demo, or one trained here"
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help=checkpoint_help)
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    on = machine()
    with tempfile.TemporaryDirectory(prefix="bench_realtime_") as folder:
        checkpoint = trained_checkpoint(arguments.checkpoint, Path(folder), quick)
        figures = realtime_graph.measure(checkpoint, quick)
        figures += realtime_memory.measure(checkpoint)
        figures += realtime_backends.measure(checkpoint, quick)
    return report("realtime", figures, quick=quick, on=on)


if __name__ == "__main__":
    sys.exit(main())
