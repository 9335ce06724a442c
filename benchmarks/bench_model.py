"""make bench-model: the policy's network at its real size, and what feeds it. Each part is a module; see there."""

from __future__ import annotations

import argparse
import sys

import model_cost
import model_full_size
import model_loader
import model_stage2
from common import machine, report


def main() -> int:
    """Measure every part, print the table, write out/bench/model.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    parser.add_argument(
        "--lerobot-python", metavar="PATH", help="Python of an environment with LeRobot (or LEROBOT_PYTHON)"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    on = machine()
    figures = [*model_loader.measure(quick, arguments.lerobot_python), *model_stage2.measure(quick)]
    figures += [*model_cost.measure(), *model_full_size.measure(quick)]
    return report("model", figures, quick=quick, on=on)


if __name__ == "__main__":
    sys.exit(main())
