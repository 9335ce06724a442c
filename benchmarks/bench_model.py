"""make bench-model: the policy's network at its real size, and what feeds it. Each part is a module; see there."""

from __future__ import annotations

import argparse
import sys

import model_full_size
import model_loader
from common import machine, report


def main() -> int:
    """Measure every part, print the table, write out/bench/model.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    quick = parser.parse_args().quick
    on = machine()
    figures = [*model_loader.measure(quick), *model_full_size.measure(quick)]
    return report("model", figures, quick=quick, on=on)


if __name__ == "__main__":
    sys.exit(main())
