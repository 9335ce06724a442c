"""make bench-realtime: the policy in the running system. Each part is a module with ``measure(...)``; see there."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

import realtime_backends
import realtime_full_size
import realtime_graph
import realtime_memory
import realtime_obstacles
from parts import parser_of, run_parts
from realtime_checkpoint import trained_checkpoint


def main() -> int:
    """Measure every part, or those of --only, into out/bench/realtime.json."""
    parser = parser_of(__doc__, ("graph", "kills", "memory", "backends", "full_size", "obstacles"))
    checkpoint_help = "drive with this one; by default that of make demo, or one trained here"
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help=checkpoint_help)
    given = parser.parse_args()
    quick: bool = given.quick
    with tempfile.TemporaryDirectory(prefix="bench_realtime_") as folder:
        # Only when a part asks for it, and once: training one takes minutes.
        checkpoint = cache(lambda: trained_checkpoint(given.checkpoint, Path(folder), quick))
        parts = {
            "graph": lambda: realtime_graph.measure(checkpoint(), quick),
            "kills": lambda: realtime_graph.measure_kills(checkpoint(), quick),
            "memory": lambda: realtime_memory.measure(checkpoint()),
            "backends": lambda: realtime_backends.measure(checkpoint(), quick),
            "full_size": lambda: realtime_full_size.measure(quick),
            "obstacles": lambda: realtime_obstacles.measure(quick),
        }
        return run_parts("realtime", parts, given.only, quick=quick)


if __name__ == "__main__":
    sys.exit(main())
