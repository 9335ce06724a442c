"""make bench-sim: the simulator itself, then the whole system in it. Collect, train for at most 90 minutes, drive.

Trials run on families of floor plans that no episode was collected on. Everything is kept in out/bench/sim/, and an
interrupted run continues there; --fresh starts from nothing. --checkpoint drives with a policy trained elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import sim_report
import sim_trials
import sim_world
from parts import Part, parser_of, run_parts
from sim_stages import Run, Sizes


def parts_of(run: Run, quick: bool) -> dict[str, Part]:
    """Return the parts, smaller for a quick run."""
    return {
        "speed": sim_world.speed,
        "generation": partial(sim_world.generation, 12 if quick else 80),
        "expert": partial(sim_world.expert, 25 if quick else 500),
        "controls": partial(sim_world.controls, 5 if quick else 100),
        "collect": run.collect,
        "train": run.train,
        "offline": run.offline,
        "trials": partial(sim_trials.measure, run),
        "conditions": partial(sim_trials.measure_conditions, run),
        "wordings": partial(sim_trials.measure_wordings, run),
        "ros": partial(sim_trials.measure_ros, run),
    }


def main() -> int:
    """Measure every part, or those of --only, into out/bench/sim.json; then write out/bench/sim/.../report.html."""
    parser = parser_of(__doc__, parts_of(Run(Sizes()), False))
    parser.add_argument("--fresh", action="store_true", help="discard what an earlier run left in out/bench/sim/")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="drive with this one instead of training")
    given = parser.parse_args()
    run = Run(Sizes.quick() if given.quick else Sizes(), given.checkpoint)
    if given.fresh:
        shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True, exist_ok=True)
    status = run_parts("sim", parts_of(run, given.quick), given.only, quick=given.quick)
    sim_report.write(run)
    return status


if __name__ == "__main__":
    sys.exit(main())
