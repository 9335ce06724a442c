"""The folder that a training writes to: nothing of an earlier one is lost unless that was asked for."""

from __future__ import annotations

from pathlib import Path

from mobile_vla_policy.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    read_info,
    remove_folder,
    require_replaceable,
    settle_folder,
)
from mobile_vla_policy.training.log import BOARD, METRICS, PLOT
from mobile_vla_policy.training.resume import FOLDER, POSITION, ResumeError, load_position


class OutputError(ValueError):
    """A training may not be written there. The message is one line that says what to do."""


def require_free(output: Path, overwrite: bool) -> None:
    """See that a new training may be written to ``output``; changes nothing.

    Raises:
        OutputError: an earlier training stands there, and ``overwrite`` is not set.
        CheckpointError, OutputError: files or folders stand in its way that are no training's.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")
    for name in (BEST, LAST):
        require_replaceable(output / name)
    state = output / FOLDER
    if state.exists() and not (state / POSITION).is_file():
        raise OutputError(f"{state} exists and is no training's; give another --output")
    if not overwrite and any((output / name).exists() for name in (BEST, LAST, FOLDER)):
        raise OutputError(
            f"{output} holds a training of {_steps(output)} steps; --resume, or another --output, or --overwrite"
        )


def settle(output: Path) -> None:
    """Put back what a power cut while saving has left aside, so that it is found and not written over."""
    for name in (FOLDER, BEST, LAST):
        settle_folder(output / name)


def clear(output: Path) -> None:
    """Remove what an earlier training left, after :func:`require_free`; whatever else is in the folder stays."""
    for name in (FOLDER, BEST, LAST):
        remove_folder(output / name)
    for file in (output / METRICS, output / PLOT, *(output / BOARD).glob("events.out.tfevents.*")):
        file.unlink(missing_ok=True)


def _steps(output: Path) -> int:
    try:
        return load_position(output / FOLDER).step
    except ResumeError:
        folder = output / (LAST if (output / LAST).exists() else BEST)
    try:
        return int(read_info(folder).training.get("steps") or 0)
    except CheckpointError:
        return 0
