"""The report of an evaluation: a table, JSON, and a figure of predicted and recorded paths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from mobile_vla_data.action import displacement, position, yaw
from mobile_vla_data.storage.folders import writing
from mobile_vla_policy.evaluation.evaluate import Evaluation
from mobile_vla_policy.evaluation.metrics import TRANSITION_TOLERANCE, Metrics
from mobile_vla_policy.evaluation.sensitivity import Changed
from mobile_vla_policy.samples.episodes import EpisodeData

_GIVEN_INSTEAD: dict[Changed, str] = {
    "instruction": "another task's instruction",
    "black_images": "black images",
    "other_images": "another episode's images",
    "state": "a state of zeros",
}
#: Below this a displacement's direction is noise [m].
_LEAST_MOTION_M = 0.005


def print_report(result: Evaluation, console: Console) -> None:
    """Print the table and the warnings."""
    title = f"{result.checkpoint}: {result.split}, {result.episodes} episodes"
    console.print(title, soft_wrap=True)
    # One space between columns: with more, a task name of 34 letters would not fit into 80 columns.
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    near = f"{1000 * result.tolerance_m:g} mm"
    yaw_column = [] if result.overall.yaw_error_rad is None else ["yaw\nmrad"]
    for name in ("steps\n", "dx\nmm", "dy\nmm", *yaw_column, "chunk\nmm", f"{near}\n%", "grip\n%", "F1\n"):
        table.add_column(name, justify="right", no_wrap=True)
    groups = [result.by_category] if len(result.by_category) > 1 else []
    for group in (*groups, result.by_task):
        for name, metrics in group.items():
            table.add_row(name, *_cells(metrics))
        table.add_section()
    table.add_row("all", *_cells(result.overall), style="bold")
    console.print(table)
    console.print(
        f"dx, dy: error of the next action; chunk: error over the whole chunk; {near}: share of actions within it and "
        f"with the right gripper; grip: right gripper; F1: of opening and closing, within {TRANSITION_TOLERANCE} steps",
        style="dim",
    )
    console.print(_sensitivity_table(result))
    for warning in result.warnings:
        console.print(f"Warning: {warning}", style="bold yellow")


def _sensitivity_table(result: Evaluation) -> Table:
    """Return the table of how the predictions change without each input."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("given instead", no_wrap=True)
    for name in ("change\nmm", "of its\nlength %", "error\nmm", "gripper\nchanged %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("nothing", "", "", f"{1000 * result.overall.error_m:.1f}", "")
    for name, found in result.sensitivity.items():
        figures = (1000 * found.change_m, 100 * found.relative, 1000 * found.error_m, 100 * found.gripper_changed)
        table.add_row(
            _GIVEN_INSTEAD[name], *(f"{value:.{digits}f}" for value, digits in zip(figures, (1, 0, 1, 0), strict=True))
        )
    return table


def write_report(result: Evaluation, folder: Path) -> None:
    """Write metrics.json and paths.png. Raises WriteError where they cannot be written."""
    text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
        _draw_paths(result, folder / "paths.png")


def _cells(metrics: Metrics) -> list[str]:
    turn = () if metrics.yaw_error_rad is None else (metrics.yaw_error_rad,)
    errors = (metrics.dx_error_m, metrics.dy_error_m, *turn, metrics.horizon_error_m)
    return [
        str(metrics.steps),
        *(f"{1000 * error:.1f}" for error in errors),
        f"{100 * metrics.within_tolerance:.0f}",
        f"{100 * metrics.gripper_accuracy:.1f}",
        "-" if metrics.transition_f1 is None else f"{metrics.transition_f1:.2f}",
    ]


def headings(episode: EpisodeData) -> npt.NDArray[np.floating]:
    """Return the robot's heading at every step [rad], ``[T]``: direction of odometry minus direction of the action.

    A state holds no heading, and actions are in the robot frame. Steps with almost no motion take the heading of the
    step before; a robot that never moves has heading 0.
    """
    went, told = np.diff(position(episode.states), axis=0), displacement(episode.actions)[:-1]
    moves = np.flatnonzero(np.minimum(np.linalg.norm(went, axis=1), np.linalg.norm(told, axis=1)) > _LEAST_MOTION_M)
    if not len(moves):
        return np.zeros(episode.num_steps)
    angles = np.arctan2(went[moves, 1], went[moves, 0]) - np.arctan2(told[moves, 1], told[moves, 0])
    last = np.searchsorted(moves, np.arange(episode.num_steps), side="right") - 1
    known: npt.NDArray[np.floating] = angles[np.maximum(last, 0)]
    return known


def driven(
    actions: npt.NDArray[np.floating], start: npt.NDArray[np.floating], heading: float
) -> npt.NDArray[np.floating]:
    """Return the path ``[n + 1, 2]`` [m] of ``n`` actions from a pose; ``heading`` in radians."""
    turns = yaw(actions)
    # Where actions carry no turn, the robot's frame keeps its heading.
    headings_before = heading + (0.0 if turns is None else np.cumsum(turns) - turns)
    cos, sin = np.cos(headings_before), np.sin(headings_before)
    forward, left = displacement(actions).T
    steps = np.stack([cos * forward - sin * left, sin * forward + cos * left], axis=1)
    return np.vstack([start, start + np.cumsum(steps, axis=0)])


def _draw_paths(result: Evaluation, output: Path) -> None:
    """Draw recorded paths and, from every fifth step, the predicted chunk."""
    # Here: matplotlib takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(result.paths))
    rows = -(-len(result.paths) // columns)
    figure = Figure(figsize=(4 * columns, 4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index, prediction in enumerate(result.paths):
        axes = figure.add_subplot(rows, columns, index + 1)
        path, turned = position(prediction.episode.states), headings(prediction.episode)
        axes.plot(*path.T, color="0.6", linewidth=3, label="recorded")
        for step in range(0, len(path), 5):
            chunk = driven(prediction.actions[step], path[step], turned[step])
            axes.plot(*chunk.T, color="tab:red", linewidth=1, label=None if step else "predicted")
        axes.set_title(prediction.episode.instruction, fontsize=9)
        axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.legend(fontsize=8)
    figure.savefig(output, dpi=110)
