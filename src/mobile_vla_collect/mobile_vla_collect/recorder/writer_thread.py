"""Encode and write on its own thread, behind a bounded queue: nothing else waits for the disk."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mobile_vla_collect.promise import promise
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.sampling.sampler import SampledStep
from mobile_vla_data.storage.durable import free_bytes
from mobile_vla_data.storage.lock import LOCK_FILE

T = TypeVar("T")
_SPACE_PERIOD_S = 0.5


@dataclass(frozen=True)
class WriterSettings:
    """Settings for writing episodes."""

    dataset: Path
    encoding: str
    """jpeg or raw."""
    jpeg_quality: int
    """1 .. 100."""
    queue_steps: int
    """Steps that may wait for the disk; one more is dropped."""


class WriterThread:
    """Owns the open :class:`EpisodeWriter`. Its methods return at once; their requests are executed in order."""

    def __init__(self, contract: Contract, settings: WriterSettings) -> None:
        self._contract = contract
        self._settings = settings
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        # Only steps are bounded: a commit behind a full queue must still be accepted.
        self._room = threading.BoundedSemaphore(settings.queue_steps)
        self._writer: EpisodeWriter | None = None
        self.failure: Exception | None = None
        """Why the open episode can no longer be written; None while all is well."""
        self.free_bytes = free_bytes(settings.dataset)
        """Free space of the dataset's file system, measured twice a second."""
        self._thread = threading.Thread(target=self._run, name="episode writer", daemon=True)
        self._thread.start()

    def open(self, metadata: EpisodeMetadata, cameras: Sequence[str]) -> Future[str]:
        """Open an episode; the result is its id."""

        def work() -> str:
            self._writer = self.failure = None
            folder = self._settings.dataset
            if not (folder / LOCK_FILE).exists():
                # A new folder would hide under the disk when that comes back, and its lock would be free.
                raise OSError(f"dataset {folder}: is no longer there; is its disk still mounted? Restart the recorder")
            self._writer = EpisodeWriter(
                self._settings.dataset,
                self._contract,
                metadata,
                cameras=cameras,
                encoding=self._settings.encoding,
                jpeg_quality=self._settings.jpeg_quality,
            )
            return self._writer.episode_id

        return self._ask(work)

    def add(self, step: SampledStep) -> bool:
        """Queue a step; returns False, and does not take it, when the disk is too far behind."""
        if not self._room.acquire(blocking=False):
            return False

        def work() -> None:
            self._room.release()
            if self._writer is None or self.failure is not None:
                return
            try:
                self._writer.add_step(
                    stamp_ns=step.stamp_ns,
                    images=step.images,
                    jpegs=step.jpegs,
                    state=step.state,
                    action=step.action,
                    stamps_ns=step.stamps_ns,
                    takeover=step.takeover,
                    source_encodings=step.encodings,
                )
            except Exception as error:  # whatever it is, the recorder must report it and the thread must live
                self.failure = error

        self._queue.put(work)
        return True

    def commit(
        self,
        outcome: str,
        dropped_ticks: int,
        input_counters: Mapping[str, Mapping[str, int]],
        lost_yaw_rad: float,
    ) -> Future[Path]:
        """Complete the open episode; the result is its path, or the error that prevented it."""

        def work() -> Path:
            writer, self._writer = self._writer, None
            if self.failure is not None:
                if writer is not None:
                    # On a broken disk closing may fail as well; the first failure is the one that matters.
                    with contextlib.suppress(OSError):
                        writer.abandon()
                raise self.failure
            assert writer is not None, "commit without an open episode"
            return writer.commit(outcome, dropped_ticks, input_counters=input_counters, lost_yaw_rad=lost_yaw_rad)

        return self._ask(work)

    def discard(self) -> Future[None]:
        """Remove the open episode."""

        def work() -> None:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.discard()

        return self._ask(work)

    def abandon(self) -> Future[None]:
        """Close the open episode without committing it and leave it for ``mobile-vla-data recover``."""

        def work() -> None:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.abandon()

        return self._ask(work)

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do something else that touches the disk, in order with the rest."""
        return self._ask(work)

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _ask(self, work: Callable[[], T]) -> Future[T]:
        future, answer = promise(work)
        self._queue.put(answer)
        return future

    def _run(self) -> None:
        measured_at = time.monotonic()
        while True:
            try:
                work = self._queue.get(timeout=_SPACE_PERIOD_S)
            except queue.Empty:
                pass
            else:
                if work is None:
                    return
                work()
            if time.monotonic() - measured_at >= _SPACE_PERIOD_S:
                measured_at = time.monotonic()
                self._measure_space()

    def _measure_space(self) -> None:
        folder = self._settings.dataset
        try:
            self.free_bytes = free_bytes(folder)
        except OSError as error:
            # Unmounted or removed: what is written from now on would be lost.
            if self._writer is not None and self.failure is None:
                self.failure = OSError(f"dataset {folder}: {error.strerror}; is its disk still mounted?")
