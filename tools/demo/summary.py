"""The figures of a demo run, collected from the files its stages left."""

from __future__ import annotations

import csv
import json
import os
import platform
from typing import Any

from rich.console import Console
from rich.table import Table

from demo import evaluation
from demo.stages import Demo, Stages, read_json


def summarise(demo: Demo, stages: Stages) -> dict[str, Any]:
    """Write ``summary.json`` and return what is in it."""
    info = read_json(demo.root / "info.json")
    validation = read_json(demo.root / "validation.json")
    trained, untrained = read_json(demo.root / "trials.json"), read_json(demo.root / "trials_untrained.json")
    summary = {
        "machine": _machine(),
        "commits": stages.commits,
        "episodes": info["episodes"],
        "steps": info["steps"],
        "validation": {
            "ok": validation["ok"],
            **{f"{level}s": _count(validation["findings"], level) for level in ("error", "warning")},
        },
        "losses": _losses(demo),
        "evaluation": evaluation.compare(demo),
        "conditions": read_json(demo.root / "conditions.json")["conditions"],
        "trials": {"trained": _score(trained), "untrained": _score(untrained)},
        "cmd_vel_rate_hz": trained["cmd_vel"]["rate_hz"],
        "policy_latency_s": trained["policy_latency_s"],
        "wall_time_s": {**stages.wall_time_s, "total": round(sum(stages.wall_time_s.values()), 1)},
    }
    (demo.root / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def shortfalls(summary: dict[str, Any]) -> list[str]:
    """Return what the run failed to show, one line each; empty if the policy learned and beats the controls."""
    trained, untrained = summary["trials"]["trained"], summary["trials"]["untrained"]
    black = summary["conditions"]["images"]
    lines = []
    # A policy that reaches nine rooms in ten reaches fewer than 8 of 12 once in 230 runs; fewer than 10, once in nine.
    if 3 * trained["successes"] < 2 * trained["trials"]:
        lines.append(
            f"the trained policy reached the room in only {trained['successes']} of {trained['trials']} trials"
        )
    if 6 * black["successes"] > black["trials"]:
        lines.append(
            f"the policy ignores the images: with black images it reached the room in {black['successes']} of "
            f"{black['trials']} trials"
        )
    if untrained["successes"] > 1:
        lines.append(f"an untrained policy reached the room in {untrained['successes']} trials: they prove little")
    return lines + evaluation.shortfalls(summary["evaluation"])


def rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The summary as label and value, for the screen and the report."""
    losses, latency, trials = summary["losses"], summary["policy_latency_s"], summary["trials"]
    return [
        ("Episodes, steps", f"{summary['episodes']}, {summary['steps']:,}"),
        ("Validation", f"{summary['validation']['errors']} errors, {summary['validation']['warnings']} warnings"),
        ("Training loss, first → last", f"{losses['first']:.3f} → {losses['last']:.3f}"),
        *(
            (f"{label}, untrained → trained", f"{before} → {after} ({verdict})")
            for label, before, after, verdict in evaluation.rows(summary["evaluation"])
        ),
        ("Reached the named room, trained", _of(trials["trained"])),
        ("Reached the named room, untrained", _of(trials["untrained"])),
        *condition_rows(summary["conditions"]),
        ("cmd_vel on the topic", f"{summary['cmd_vel_rate_hz']:.1f} Hz"),
        ("Policy latency, p50 / p99", f"{latency['p50'] * 1e3:.0f} / {latency['p99'] * 1e3:.0f} ms"),
        *((f"Time: {name.replace('_', ' ')}", f"{seconds:.0f} s") for name, seconds in summary["wall_time_s"].items()),
        ("Machine", f"{summary['machine']['cpu']}, {summary['machine']['cores']} cores"),
    ]


def condition_rows(conditions: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the headless trials of the trained policy: the same scenes under each condition."""
    swapped = conditions["swapped-instruction"]
    return [
        ("The same without ROS", _of(conditions["plain"])),
        ("... with black images", _of(conditions["images"])),
        ("... told another room: reached that one", _of(swapped)),
        ("... told another room: reached the first one", _of(swapped["old_goal"])),
    ]


def table(summary: dict[str, Any]) -> None:
    """Print the summary."""
    screen = Table(title="Mobile VLA demo", show_header=False)
    for label, value in rows(summary):
        screen.add_row(label, value)
    Console().print(screen)


def _count(findings: list[dict[str, Any]], severity: str) -> int:
    return sum(finding["severity"] == severity for finding in findings)


def _score(trials: dict[str, Any]) -> dict[str, int]:
    return {"successes": trials["successes"], "trials": len(trials["trials"])}


def _of(score: dict[str, Any]) -> str:
    return f"{score['successes']} of {score['trials']} trials"


def _losses(demo: Demo) -> dict[str, float]:
    with (demo.looks / "metrics.csv").open() as stream:
        steps = list(csv.DictReader(stream))
    train = [float(step["train_loss"]) for step in steps if step.get("train_loss")]
    validation = [float(step["validation_loss"]) for step in steps if step.get("validation_loss")]
    return {
        "first": train[0],
        "last": train[-1],
        "validation_first": validation[0],
        "validation_last": validation[-1],
    }


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as stream:
        cpu = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), cpu)
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
