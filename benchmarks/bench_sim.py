"""make bench-sim: the whole system in the simulator. Collect 1,000 episodes, train for at most 90 minutes, drive.

Trials run on families of floor plans that no episode was collected on. Everything is kept in out/bench/sim/, and an
interrupted run continues there; --fresh starts from nothing. --checkpoint drives with a policy trained elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import sim_report
import sim_trials
from parts import parser_of, run_parts
from sim_stages import Run, Sizes

PARTS = ("collect", "train", "offline", "trials", "ablations", "ros")


def main() -> int:
    """Measure every part, or those of --only, into out/bench/sim.json; then write out/bench/sim/report.html."""
    parser = parser_of(__doc__, PARTS)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run left in out/bench/sim/")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="drive with this one instead of training")
    given = parser.parse_args()
    run = Run(Sizes.quick() if given.quick else Sizes(), given.checkpoint)
    if given.fresh:
        shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "collect": run.collect,
        "train": run.train,
        "offline": run.offline,
        "trials": lambda: sim_trials.measure(run),
        "ablations": lambda: sim_trials.measure_ablations(run),
        "ros": lambda: sim_trials.measure_ros(run),
    }
    status = run_parts("sim", parts, given.only, quick=given.quick)
    sim_report.write(run)
    return status


if __name__ == "__main__":
    sys.exit(main())
