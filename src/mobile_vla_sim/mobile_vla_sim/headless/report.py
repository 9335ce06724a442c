"""Summary of trials: success with its 95 % interval by task, category and condition; reasons of failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mobile_vla_data.trials.rates import rate
from mobile_vla_sim.headless.conditions import ABLATIONS, NAMELESS_INSTRUCTION, Condition
from mobile_vla_sim.headless.evaluate import EvaluateConfig
from mobile_vla_sim.headless.trial import Trial


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the summary of the trials of one condition."""
    done = [trial for trial in trials if trial.success]
    ratios = [trial.path_m / trial.shortest_path_m for trial in done if trial.shortest_path_m > 0.0]
    result = {
        **rate(trial.success for trial in trials),
        "by_category": _by(trials, [trial.category for trial in trials]),
        "by_task": _by(trials, [trial.task for trial in trials]),
        "by_family": _by(trials, [trial.family for trial in trials]),
        "reasons": dict(Counter(trial.reason for trial in trials if trial.reason).most_common()),
        "collisions_per_trial": round(float(np.mean([trial.collisions for trial in trials])), 3) if trials else 0.0,
        "path_ratio_p50": round(float(np.median(ratios)), 3) if ratios else None,
        "duration_p50_s": round(float(np.median([trial.duration_s for trial in done])), 2) if done else None,
    }
    if trials and trials[0].condition == Condition.SWAPPED.value:
        result["old_goal"] = rate(trial.scene_success for trial in trials)
    return result


def document(config: EvaluateConfig, trials: Sequence[Trial], latencies_s: Sequence[float]) -> dict[str, Any]:
    """Return the whole result as JSON values. The figures of the plain condition are at the top level."""
    order = {condition.value: place for place, condition in enumerate(config.conditions)}
    ordered = sorted(trials, key=lambda trial: (order[trial.condition], trial.index))
    conditions = {
        condition.value: summary([trial for trial in ordered if trial.condition == condition.value])
        for condition in config.conditions
    }
    p50, p99 = (round(float(value), 5) for value in np.percentile(latencies_s or [0.0], (50, 99)))
    return {
        **conditions[config.conditions[0].value],
        "conditions": conditions,
        "warnings": warnings(conditions),
        "seed": config.seed,
        "replan": config.replan,
        "time_limit_s": config.time_limit_s,
        "odometry": config.odometry,
        "steps": len(latencies_s),
        "predict_p50_s": p50,
        "predict_p99_s": p99,
        "details": [asdict(trial) for trial in ordered],
    }


def warnings(conditions: dict[str, dict[str, Any]]) -> list[str]:
    """Return one sentence for each input that the policy was given but does not use."""
    plain = conditions.get(Condition.PLAIN.value)
    if plain is None or plain["successes"] == 0:
        return []
    said = []
    for condition in ABLATIONS:
        found = conditions.get(condition.value)
        # More than half of the successes remain, although an input is gone.
        if found is None or condition is Condition.NO_STATE or found["success_rate"] <= 0.5 * plain["success_rate"]:
            continue
        what = {
            Condition.BLACK_IMAGES: "the policy ignores the images: it does as well with black images",
            Condition.OTHER_IMAGES: "the policy ignores the images: it does as well with images of another scene",
            Condition.NO_INSTRUCTION: "the policy ignores the instruction: it does as well without an instruction",
        }[condition]
        said.append(f"{what} ({found['successes']} of {found['trials']}, {plain['successes']} with everything)")
    state = conditions.get(Condition.NO_STATE.value)
    if state is not None and state["success_rate"] < 0.5 * plain["success_rate"]:
        said.append(
            f"the policy relies on odometry: without the state it succeeds in {state['successes']} of "
            f"{state['trials']}, with it in {plain['successes']}"
        )
    return said


def _by(trials: Sequence[Trial], keys: Sequence[str]) -> dict[str, Any]:
    return {
        key: rate(trial.success for trial, its in zip(trials, keys, strict=True) if its == key)
        for key in dict.fromkeys(keys)
    }


def print_report(result: dict[str, Any], console: Console) -> None:
    """Print the tables of a result."""
    conditions: dict[str, dict[str, Any]] = result["conditions"]
    plain = conditions[Condition.PLAIN.value]
    table = Table("", "done", "trials", "rate", "95 % interval")
    for name, entry in {**plain["by_task"], **plain["by_category"], "all": plain}.items():
        table.add_row(name, *_cells(entry))
    console.print(table)
    if len(conditions) > 1:
        table = Table("given", "done", "trials", "rate", "95 % interval", "most frequent failures")
        for name, entry in conditions.items():
            reasons = ", ".join(f"{reason} {count}" for reason, count in list(entry["reasons"].items())[:3])
            table.add_row(TITLES[Condition(name)], *_cells(entry), reasons)
            if "old_goal" in entry:
                table.add_row("  the scene's own goal instead", *_cells(entry["old_goal"]), "")
        console.print(table)
    reasons = ", ".join(f"{reason} {count}" for reason, count in plain["reasons"].items())
    console.print(f"failures: {reasons or 'none'}; collisions per trial: {plain['collisions_per_trial']}")
    for line in result["warnings"]:
        console.print(line)


TITLES = {
    Condition.PLAIN: "everything",
    Condition.HELD_OUT_WORDING: "wordings never collected",
    Condition.SWAPPED: "another instruction",
    Condition.BLACK_IMAGES: "black images",
    Condition.OTHER_IMAGES: "images of another scene",
    Condition.NO_STATE: "no state",
    Condition.NO_INSTRUCTION: f"the instruction '{NAMELESS_INSTRUCTION}'",
}


def _cells(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    low, high = entry["interval_95"]
    share = f"{100 * entry['success_rate']:.0f} %"
    return str(entry["successes"]), str(entry["trials"]), share, f"{100 * low:.0f} - {100 * high:.0f} %"
