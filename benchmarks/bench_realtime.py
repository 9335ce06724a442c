"""make bench-realtime: the policy in the running system. Each part is a module with ``measure(...)``; see there."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import realtime_graph
from common import machine, report
from realtime_checkpoint import make_checkpoint


def main() -> int:
    """Measure every part, print the table, write out/bench/realtime.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    quick = parser.parse_args().quick
    on = machine()
    with tempfile.TemporaryDirectory(prefix="bench_realtime_") as folder:
        checkpoint = Path(folder, "checkpoint")
        make_checkpoint(checkpoint)
        figures = realtime_graph.measure(checkpoint, quick)
    return report("realtime", figures, quick=quick, on=on)


if __name__ == "__main__":
    sys.exit(main())
