"""make bench-sim: the simulator's speed, its expert, and its tests of success."""

from __future__ import annotations

import sys
from functools import partial

import sim_world
from parts import Part, parser_of, run_parts


def parts_of(quick: bool) -> dict[str, Part]:
    """Return the parts, smaller for a quick run."""
    return {
        "speed": sim_world.speed,
        "generation": partial(sim_world.generation, 12 if quick else 80),
        "expert": partial(sim_world.expert, 25 if quick else 500),
        "controls": partial(sim_world.controls, 5 if quick else 100),
    }


def main() -> int:
    """Measure; returns the exit status."""
    parser = parser_of(__doc__, parts_of(False))
    arguments = parser.parse_args()
    return run_parts("sim", parts_of(arguments.quick), arguments.only, quick=arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
