"""Closed-loop trials of the benchmark: success by category and condition, and agreement with the launched graph."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import Any

from common import Figure, say
from sim_stages import Run

from mobile_vla_data.trials.rates import wilson

ROOMS = ("go_to_kitchen", "go_to_living_room", "go_to_bedroom", "go_to_bathroom")
SEED = 7


def measure(run: Run) -> Iterable[Figure]:
    """Drive every task as it was taught."""
    result = _trials(run, "trials", run.sizes.trials)
    plain = result["conditions"]["plain"]
    rooms = [trial["success"] for trial in result["details"] if trial["task"] in ROOMS]
    yield Figure("navigation to rooms", _share(rooms), "%", ">= 90")
    yield Figure("navigation to objects and furniture", _percent(plain["by_task"]["navigate_to_object"]), "%", ">= 75")
    for category in ("manipulation", "combined"):
        yield Figure(category, _percent(plain["by_category"][category]), "%", ">= 75")
    yield Figure("collisions per trial", plain["collisions_per_trial"], "")
    if plain["path_ratio_p50"] is not None:
        yield Figure("path length over the expert's, median", plain["path_ratio_p50"], "")
    yield Figure("prediction, p50", 1000 * result["predict_p50_s"], "ms")


def measure_conditions(run: Run) -> Iterable[Figure]:
    """Drive the first of these scenes with another instruction, and with an input taken away."""
    names = ("images", "other-images", "state", "instruction")
    options = [word for name in names for word in ("--ablate", name)]
    scenes = run.sizes.condition_trials
    found = _trials(run, "conditions", scenes, "--swap-instruction", *options)["conditions"]
    swapped = found["swapped-instruction"]
    yield Figure("the same scenes with everything", _percent(found["plain"]), "%")
    yield Figure("black images", _percent(found["images"]), "%", "<= 10")
    yield Figure("swapped instruction: new goal reached", _percent(swapped), "%", ">= 80")
    yield Figure("swapped instruction: old goal reached", _percent(swapped["old_goal"]), "%", "<= 10")
    yield Figure("another scene's images", _percent(found["other-images"]), "%")
    yield Figure("a state of zeros", _percent(found["state"]), "%")
    yield Figure("a nameless instruction", _percent(found["instruction"]), "%")


def measure_wordings(run: Run) -> Iterable[Figure]:
    """Drive the first scenes in wordings that no episode has: more of them, because a few scenes are ten points."""
    found = _trials(run, "wordings", run.sizes.wording_trials, "--held-out-wordings")["conditions"]
    points = _percent(found["plain"]) - _percent(found["held-out-wording"])
    yield Figure("held-out wordings", _percent(found["held-out-wording"]), "%")
    yield Figure("held-out wordings: points below the others", points, "points", "<= 10")


def measure_ros(run: Run) -> Iterable[Figure]:
    """Drive some of the same scenes under ``ros2 launch``: does it agree with the headless trials?"""
    output = run.folder / "ros.json"
    if not output.exists():
        trials = run.sizes.ros_trials
        line = ["ros2", "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false"]
        line += [f"checkpoint:={run.checkpoint}", f"trials:={trials}", f"seed:={SEED}", f"trial_output:={output}"]
        say("$ " + " ".join(line))
        with (run.folder / "ros.log").open("w") as log:
            subprocess.run(line, check=True, stdout=log, stderr=subprocess.STDOUT, timeout=120 + 60 * trials)
    launched = run.read("ros")
    low, high = run.read("trials")["interval_95"]
    rate = launched["success_rate"]
    yield Figure("success under ros2 launch", 100 * rate, "%")
    # The few launched trials have an interval of their own; the two must overlap.
    live_low, live_high = wilson(launched["successes"], launched["count"])
    overlap = live_low <= high and low <= live_high
    yield Figure("launched and headless trials agree within the 95 % interval", overlap, "", "== 1")


def _trials(run: Run, name: str, trials: int, *options: str) -> Any:
    line = ["mobile-vla-sim", "evaluate", "--checkpoint", run.checkpoint, "--trials", str(trials), "--seed", str(SEED)]
    return run.once(name, *line, *options, "--workers", "auto", "--json")


def _percent(entry: dict[str, Any]) -> float:
    return 100.0 * float(entry["success_rate"])


def _share(outcomes: list[bool]) -> float:
    return 100.0 * sum(outcomes) / max(1, len(outcomes))
