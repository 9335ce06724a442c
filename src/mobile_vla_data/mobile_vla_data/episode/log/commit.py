"""Turns the log of an episode into its file: for the writer at the end, for recovery after a crash.

JPEG images lie in the log where the file has them (heap.py beside this), so only what refers to them is added. Raw
images have to be copied, because schema 1.0 gives each a chunk of its own, whose place only HDF5 can choose.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

from mobile_vla_data.episode import schema
from mobile_vla_data.storage.durable import publish
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, Ending, EpisodeFileBuilder, complete_log
from mobile_vla_data.episode.log.journal import EpisodeHeader, LogIndex, read_journal

__all__ = ["Ending", "commit_log"]


def commit_log(dataset: Path, header: EpisodeHeader, index: LogIndex, ending: Ending) -> Path:
    """Complete an episode's log, flush it, give it its final name and return its path.

    After an interruption the log is as it was, and this may be repeated.

    Raises:
        OSError: the disk is full, or does not take it.
    """
    part, final = schema.part_path(dataset, header.episode_id), schema.final_path(dataset, header.episode_id)
    if header.encoding == schema.JPEG:
        complete_log(part, header, index, ending)
        publish(part, final)
        return final
    copy = schema.copy_path(dataset, header.episode_id)
    try:
        _copy(part, copy, ending)
        publish(copy, final)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    part.unlink()
    return final


def _copy(part: Path, copy: Path, ending: Ending) -> None:
    header, logged = read_journal(part)
    steps = (step for step, _, _ in logged)
    builder = EpisodeFileBuilder(copy, header)
    try:
        while block := list(islice(steps, BLOCK_STEPS)):
            builder.append(block)
        builder.finish(ending)
    except OSError:
        # A full disk can keep HDF5 from closing its file.
        with contextlib.suppress(OSError, RuntimeError):
            builder.close()
        raise
