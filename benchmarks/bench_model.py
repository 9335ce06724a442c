"""make bench-model: the policy's network at its real size, and what feeds it. Each part is a module; see there."""

from __future__ import annotations

import os
import sys

# Before torch is imported, and as mobile-vla-policy and policy_node do: threads that wait sleep, they do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import model_cost
import model_full_size
import model_loader
import model_stage2
import model_threads
from parts import parser_of, run_parts


def main() -> int:
    """Measure every part, or those of --only, into out/bench/model.json."""
    parser = parser_of(__doc__, ("loader", "stage2", "cost", "full_size", "threads"))
    parser.add_argument(
        "--lerobot-python", metavar="PATH", help="Python of an environment with LeRobot (or LEROBOT_PYTHON)"
    )
    given = parser.parse_args()
    parts = {
        "loader": lambda: model_loader.measure(given.quick, given.lerobot_python),
        "stage2": lambda: model_stage2.measure(given.quick),
        "cost": model_cost.measure,
        "full_size": lambda: model_full_size.measure(given.quick),
        "threads": lambda: model_threads.measure(given.quick),
    }
    return run_parts("model", parts, given.only, quick=given.quick)


if __name__ == "__main__":
    sys.exit(main())
