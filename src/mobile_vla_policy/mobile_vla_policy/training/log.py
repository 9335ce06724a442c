"""The log of a training: a live line, metrics.csv, TensorBoard events, loss.png."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter

from mobile_vla_data.storage.durable import write_text_atomically
from mobile_vla_data.storage.folders import writing

METRICS, PLOT, BOARD = "metrics.csv", "loss.png", "tensorboard"
COLUMNS = (
    "step",
    "elapsed_s",
    "learning_rate",
    "train_loss",
    "train_motion",
    "train_gripper",
    "train_grounding",
    "train_hindsight",
    "validation_loss",
    "validation_motion",
    "validation_gripper",
)
_SCALE = 1000
_LINE_EVERY_S = 15.0


class MetricsLog(Protocol):
    """The trainer's log of metrics. A context manager. ``step`` counts optimisation steps."""

    def __enter__(self) -> MetricsLog: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log values, under names from :data:`COLUMNS`."""
        ...

    def show(self, step: int, progress: float, loss: float, best: float | None, frames_per_s: float) -> None:
        """Update the live line."""
        ...


class NoLog:
    """The log of every process but the first: several would write the same files at the same time."""

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write nothing."""

    def show(self, step: int, progress: float, loss: float, best: float | None, frames_per_s: float) -> None:
        """Show nothing."""


class TrainingLog:
    """Writes to the output folder of the training. Raises WriteError if that fails."""

    def __init__(self, folder: Path, console: Console, resume_at: int = 0) -> None:
        self._path = folder / METRICS
        # A resumed training writes the steps after its last saved state again.
        rows = [row for row in read_metrics(self._path) if int(row["step"]) <= resume_at] if resume_at else []
        with writing(folder):
            write_text_atomically(self._path, _as_csv(rows, header=True))
            self._board = SummaryWriter(str(folder / BOARD), purge_step=resume_at + 1)
        self._folder = folder
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=_SCALE)
        self._next_line_s = 0.0

    def __enter__(self) -> TrainingLog:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        with writing(self._folder):
            self._board.close()
            plot_losses(self._path, self._folder / PLOT)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log values, under names from :data:`COLUMNS`."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        # Opened for every line: a line that a full disk refuses must not be written again when the training ends.
        with writing(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_as_csv([row]))
        for name, value in values.items():
            self._board.add_scalar(name.replace("_", "/", 1), value, step)

    def show(self, step: int, progress: float, loss: float, best: float | None, frames_per_s: float) -> None:
        """Update the live line."""
        validation = "" if best is None else f", best validation {best:.4f}"
        text = f"step {step}, loss {loss:.4f}{validation}, {frames_per_s:.0f} frames/s"
        self._progress.update(self._task, completed=progress * _SCALE, description=text)
        # A log file gets a line now and then instead of the bar.
        if not self._progress.console.is_terminal and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + _LINE_EVERY_S
            self._progress.console.print(f"{progress:4.0%} {text}")


class FeatureProgress:
    """Shows how many episodes the backbone has encoded, and prints at the end what that took. A context manager."""

    def __init__(self, console: Console, folder: Path, episodes: int) -> None:
        self._console, self._folder, self._episodes = console, folder, episodes
        self._progress = Progress(
            TextColumn("encode every frame once"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=episodes)
        self._done = self._computed = 0
        self._began_s = self._printed_s = time.monotonic()

    def __enter__(self) -> FeatureProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._progress.stop()
        if kind is None:
            taken = time.monotonic() - self._began_s
            self._console.print(
                f"features: {self._computed} episodes computed, {self._done - self._computed} from {self._folder}, "
                f"{taken:.1f} s"
            )

    def advance(self, computed: bool) -> None:
        """Count an episode; ``computed``: its features were not on disk."""
        self._done, self._computed = self._done + 1, self._computed + computed
        self._progress.advance(self._task)
        if not self._console.is_terminal and time.monotonic() >= self._printed_s + _LINE_EVERY_S:
            self._printed_s = time.monotonic()
            self._console.print(f"features: {self._done} of {self._episodes} episodes")


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read the rows of a metrics.csv; none if there is no file. A row cut off by a power failure is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    return [row for row in csv.DictReader(text.splitlines()) if _whole(row)]


def _whole(row: Mapping[str, object]) -> bool:
    return tuple(row) == COLUMNS and None not in row.values() and str(row["step"]).isdecimal()


def _as_csv(rows: Sequence[Mapping[str, str]], header: bool = False) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def plot_losses(metrics: Path, output: Path) -> None:
    """Draw training and validation loss over the steps."""
    # Here: matplotlib takes a second to import, and a machine without a display needs the Agg canvas.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(metrics)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, style in (("train_loss", "-"), ("validation_loss", "o-")):
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name.replace("_", " "), markersize=4, linewidth=1.2)
    axes.set(xlabel="optimisation step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    figure.savefig(output, dpi=120)
