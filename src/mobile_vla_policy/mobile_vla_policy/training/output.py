"""The folder that a training writes to: nothing of an earlier one is lost unless that was asked for."""

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

#: The kernel's lock on this file says that a training runs.
LOCK = ".training.lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class OutputError(ValueError):
    """A training may not be written there. The message is one line that says what to do."""


class OutputLock(FolderLock):
    """Held by the process that trains into a folder."""

    def __init__(self, output: Path) -> None:
        super().__init__(output, LOCK)

    def busy(self, holder: str) -> FolderBusyError:
        """The error that another process, ``holder``, trains there."""
        return FolderBusyError(f"{self.folder}: {holder} trains there; wait for it, stop it, or give another --output")

    def acquire(self) -> None:
        """Take the lock, where the file system has any: some that clusters share do not, and one trains there, too."""
        try:
            super().acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise


def require_space(output: Path, network: PolicyNetwork, settings: TrainSettings) -> None:
    """See that there is room for what a training leaves, rather than find out when the first of it is saved.

    Room that an earlier training takes counts: :func:`clear` follows.

    Raises:
        OutputError: it has not.
    """
    replaced = sum(path.stat().st_size for name in (RESUME, BEST, LAST) for path in (output / name).glob("*"))
    needed, free = bytes_left(network, settings), shutil.disk_usage(output).free + replaced
    if free < needed:
        raise OutputError(
            f"{output}: best, last and the state to resume from will take {needed / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free there; make room, or give another --output"
        )


def bytes_left(network: PolicyNetwork, settings: TrainSettings) -> int:
    """Bytes of tensors that a training leaves: best, last and the state to resume from."""
    state = network.state_dict()
    checkpoint: int = sum(state[name].nbytes for name in saved_names(network, settings.policy))
    learns: int = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    # Weights, two moments of AdamW, and the average.
    return 2 * checkpoint + (4 if settings.ema_decay else 3) * learns


def require_folder(output: Path) -> None:
    """Raises :class:`OutputError`: a file stands there."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")


def require_free(output: Path, overwrite: bool) -> None:
    """See that a new training may be written to ``output``; changes nothing.

    Raises:
        OutputError: an earlier training stands there, and ``overwrite`` is not set.
        CheckpointError, OutputError: files or folders stand in its way that are no training's.
    """
    require_folder(output)
    for name in (BEST, LAST):
        require_replaceable(output / name)
    state = output / RESUME
    if state.exists() and not (state / POSITION).is_file():
        raise OutputError(f"{state} exists and is no training's; give another --output")
    if not overwrite and any((output / name).exists() for name in (BEST, LAST, RESUME)):
        raise OutputError(
            f"{output} holds a training of {_steps(output)} steps; --resume, or another --output, or --overwrite"
        )


def settle(output: Path) -> None:
    """Put back what a power cut while saving has left aside, so that it is found and not written over."""
    for name in (RESUME, BEST, LAST):
        settle_folder(output / name)


def clear(output: Path) -> None:
    """Remove what an earlier training left, after :func:`require_free`; whatever else is in the folder stays."""
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
