"""Results of `evaluate` for the untrained and the trained checkpoint side by side, and which metrics improved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.stages import Demo, read_json


@dataclass(frozen=True)
class Metric:
    """One line of the comparison."""

    name: str
    label: str
    value: Callable[[dict[str, Any]], float | None]
    show: Callable[[float], str]
    higher_is_better: bool
    best: float | None = None
    """Best possible value."""


def _overall(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda result: result["overall"][name]


def _sensitivity(result: dict[str, Any]) -> float | None:
    found = result["instruction_sensitivity"]
    return None if found is None else found["relative"]


def _millimetres(value: float) -> str:
    return f"{1000 * value:.1f} mm"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


METRICS = (
    Metric("dx_error_m", "Error of delta_x", _overall("dx_error_m"), _millimetres, False),
    Metric("dy_error_m", "Error of delta_y", _overall("dy_error_m"), _millimetres, False),
    Metric("horizon_error_m", "Error over whole chunks", _overall("horizon_error_m"), _millimetres, False),
    Metric("within_tolerance", "Actions within 10 mm", _overall("within_tolerance"), _percent, True, 1.0),
    Metric("gripper_accuracy", "Gripper right", _overall("gripper_accuracy"), _percent, True, 1.0),
    Metric("transition_f1", "Gripper transitions, F1", _overall("transition_f1"), "{:.2f}".format, True, 1.0),
    Metric("instruction_sensitivity", "Change by another instruction", _sensitivity, _percent, True),
)


def compare(demo: Demo) -> dict[str, Any]:
    """For the summary: the metrics of both checkpoints on the test split, and the verdict on each."""
    untrained, trained = (read_json(demo.root / f"{name}.json") for name in ("evaluation_untrained", "evaluation"))
    return {
        "split": trained["split"],
        "episodes": trained["episodes"],
        "steps": trained["overall"]["steps"],
        "metrics": {metric.name: _verdict(metric, untrained, trained) for metric in METRICS},
    }


def rows(comparison: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Label, untrained, trained and verdict of every metric."""
    lines = []
    for metric in METRICS:
        found = comparison["metrics"][metric.name]
        before, after = ("-" if found[key] is None else metric.show(found[key]) for key in ("untrained", "trained"))
        lines.append((metric.label, before, after, found["verdict"]))
    return lines


def shortfalls(comparison: dict[str, Any]) -> list[str]:
    """Metrics that training could have improved but did not, one line each."""
    return [
        f"{label.lower()}: {before} untrained, {after} trained on the {comparison['split']} split"
        for label, before, after, verdict in rows(comparison)
        if verdict == "not better"
    ]


def _verdict(metric: Metric, untrained: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    before, after = metric.value(untrained), metric.value(trained)
    if before is None and after is None:
        verdict = "nothing to find: the gripper never moves in these episodes"
        if metric.name == "instruction_sensitivity":
            verdict = "not seen: all episodes have one task"
    elif after is None:
        # Transitions were predicted where there are none, and no longer are.
        verdict = "better: no false transitions left"
    elif before is None:
        verdict = "not better"
    elif metric.best is not None and before == after == metric.best:
        verdict = "cannot improve: right from the start"
    else:
        verdict = "better" if (after > before) == metric.higher_is_better and after != before else "not better"
    return {"untrained": before, "trained": after, "verdict": verdict}
