"""An evaluation as a table, as JSON, and as a picture of predicted against true paths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mobile_vla_policy.evaluation.metrics import Metrics
from mobile_vla_policy.evaluation.run import Evaluation


def print_report(result: Evaluation, console: Console) -> None:
    """Print the table and the warnings."""
    table = Table(title=f"{result.checkpoint}: {result.split}, {result.episodes} episodes")
    for name in ("", "steps", "dx error [mm]", "dy error [mm]", "chunk error [mm]"):
        table.add_column(name, justify="left" if not name else "right")
    for name in (f"within {1000 * result.tolerance_m:g} mm", "gripper", "transition F1"):
        table.add_column(name, justify="right")
    groups = {**result.by_category, **result.by_task} if len(result.by_category) > 1 else result.by_task
    for name, metrics in groups.items():
        table.add_row(name, *_cells(metrics))
    table.add_section()
    table.add_row("all", *_cells(result.overall), style="bold")
    console.print(table)
    if result.sensitivity is not None:
        console.print(
            f"Another task's instruction changes the next displacement by {1000 * result.sensitivity.change_m:.1f} mm "
            f"({100 * result.sensitivity.relative:.0f} % of its length), its error becomes "
            f"{1000 * result.sensitivity.swapped_error_m:.1f} mm instead of {1000 * result.overall.error_m:.1f} mm."
        )
    for warning in result.warnings:
        console.print(f"[bold yellow]Warning:[/] {warning}")


def write_report(result: Evaluation, folder: Path) -> None:
    """Write metrics.json and paths.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    _draw_paths(result, folder / "paths.png")


def _cells(metrics: Metrics) -> list[str]:
    errors = (metrics.dx_error_m, metrics.dy_error_m, metrics.horizon_error_m)
    return [
        str(metrics.steps),
        *(f"{1000 * error:.1f}" for error in errors),
        f"{100 * metrics.within_tolerance:.0f} %",
        f"{100 * metrics.gripper_accuracy:.1f} %",
        "-" if metrics.transition_f1 is None else f"{metrics.transition_f1:.2f}",
    ]


def _draw_paths(result: Evaluation, output: Path) -> None:
    """True paths, and from every fifth step the chunk that the policy would drive from there."""
    # Here: matplotlib takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(result.paths))
    rows = -(-len(result.paths) // columns)
    figure = Figure(figsize=(4 * columns, 4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index, prediction in enumerate(result.paths):
        axes = figure.add_subplot(rows, columns, index + 1)
        # Displacements are in the robot frame; summed up they draw the path of a base that keeps its heading.
        start = np.zeros((1, 2))
        path = np.concatenate([start, np.cumsum(prediction.episode.actions[:, :2], axis=0)])
        axes.plot(path[:, 0], path[:, 1], color="0.6", linewidth=3, label="recorded")
        for step in range(0, len(prediction.deltas), 5):
            chunk = np.concatenate([path[step : step + 1], path[step] + np.cumsum(prediction.deltas[step], axis=0)])
            axes.plot(chunk[:, 0], chunk[:, 1], color="tab:red", linewidth=1, label=None if step else "predicted")
        axes.set_title(prediction.episode.instruction, fontsize=9)
        axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.legend(fontsize=8)
    figure.savefig(output, dpi=110)
