"""The output folder of a training: an earlier training is only removed on request."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from mobile_vla_data.storage.folders import remove_folder, settle_folder
from mobile_vla_data.storage.lock import FolderBusyError, FolderLock
from mobile_vla_policy.checkpoint import (
    BEST,
    LAST,
    RESUME,
    CheckpointError,
    read_info,
    require_replaceable,
    saved_names,
)
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.training.log import BOARD, METRICS, PLOT
from mobile_vla_policy.training.resume import POSITION, ResumeError, load_position
from mobile_vla_policy.training.settings import TrainSettings

#: While a training runs, it holds the kernel's lock on this file.
LOCK = ".training.lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class OutputError(ValueError):
    """A training may not write to this folder. The message is one line that says what to do."""


class OutputLock(FolderLock):
    """The lock of the process that trains into a folder."""

    def __init__(self, output: Path) -> None:
        super().__init__(output, LOCK)

    def busy(self, holder: str) -> FolderBusyError:
        """Return the error that another process, ``holder``, trains there."""
        return FolderBusyError(f"{self.folder}: {holder} trains there; wait for it, stop it, or give another --output")

    def acquire(self) -> None:
        """Take the lock, if the file system has locks: some network file systems have none."""
        try:
            super().acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise


def require_space(output: Path, network: PolicyNetwork, settings: TrainSettings) -> None:
    """Check that there is room for all files of a training, before it starts.

    Room that an earlier training takes counts as free: :func:`clear` follows.

    Raises:
        OutputError: there is not enough.
    """
    replaced = sum(path.stat().st_size for name in (RESUME, BEST, LAST) for path in (output / name).glob("*"))
    needed, free = bytes_left(network, settings), shutil.disk_usage(output).free + replaced
    if free < needed:
        raise OutputError(
            f"{output}: best, last and the state to resume from will take {needed / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free there; make room, or give another --output"
        )


def bytes_left(network: PolicyNetwork, settings: TrainSettings) -> int:
    """Return the bytes of tensors that a training writes: best, last and the state to resume from."""
    state = network.state_dict()
    checkpoint: int = sum(state[name].nbytes for name in saved_names(network, settings.policy))
    learns: int = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    # Weights, two moments of AdamW, and the average.
    return 2 * checkpoint + (4 if settings.ema_decay else 3) * learns


def require_folder(output: Path) -> None:
    """Raise :class:`OutputError` if ``output`` is a file."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")


def require_free(output: Path, overwrite: bool) -> None:
    """Check that a new training may write to ``output``; change nothing.

    Raises:
        OutputError: it holds an earlier training, and ``overwrite`` is not set.
        CheckpointError, OutputError: it holds other files with names that a training uses.
    """
    require_folder(output)
    for name in (BEST, LAST):
        require_replaceable(output / name)
    state = output / RESUME
    if state.exists() and not (state / POSITION).is_file():
        raise OutputError(f"{state} exists and is not from a training; give another --output")
    if not overwrite and any((output / name).exists() for name in (BEST, LAST, RESUME)):
        raise OutputError(
            f"{output} holds a training of {_steps(output)} steps; add --resume or --overwrite, or change --output"
        )


def settle(output: Path) -> None:
    """Restore folders that a power cut left under temporary names while saving."""
    for name in (RESUME, BEST, LAST):
        settle_folder(output / name)


def clear(output: Path) -> None:
    """Remove the files of an earlier training, after :func:`require_free`; other files in the folder stay."""
    for name in (RESUME, BEST, LAST):
        remove_folder(output / name)
    for file in (output / METRICS, output / PLOT, *(output / BOARD).glob("events.out.tfevents.*")):
        file.unlink(missing_ok=True)


def _steps(output: Path) -> int:
    try:
        return load_position(output / RESUME).step
    except ResumeError:
        folder = output / (LAST if (output / LAST).exists() else BEST)
    try:
        return int(read_info(folder).training.get("steps") or 0)
    except CheckpointError:
        return 0
