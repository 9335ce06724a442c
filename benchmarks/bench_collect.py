"""make bench-collect: what collecting costs. The parts are described in collect_data.py and collect_ros.py."""

from __future__ import annotations

import sys

import collect_data
import collect_ros
from parts import parser_of, run_parts


def main() -> int:
    """Measure every part, or those of --only, into out/bench/collect.json."""
    parts = {
        "writers": collect_data.writers,
        "validation": collect_data.validation,
        "steady": collect_ros.steady,
        "ceiling": collect_ros.ceiling,
        "raw": collect_ros.raw,
        "kills": collect_ros.kills,
    }
    given = parser_of(__doc__, parts).parse_args()
    measures = {name: lambda part=part: part(given.quick) for name, part in parts.items()}
    return run_parts("collect", measures, given.only, quick=given.quick)


if __name__ == "__main__":
    sys.exit(main())
