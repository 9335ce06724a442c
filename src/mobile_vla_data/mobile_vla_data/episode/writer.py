"""Writes one episode: committed whole under its final name, or not at all.

While an episode is open two hidden files stand in the dataset folder: ``.episode_NNNNNN.h5.part``, the HDF5 file that
grows block by block, and ``.episode_NNNNNN.journal``, the log of every step (journal.py beside this).
:meth:`EpisodeWriter.commit` completes the first, fsyncs it, gives it its final name, fsyncs the folder and removes the
journal. After a crash, recover.py builds the episode again from the journal.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import next_number
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.durable import DiskFullError, as_disk_full, fsync_path, publish, require_space
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, EpisodeFileBuilder
from mobile_vla_data.episode.journal import EpisodeHeader, Journal, StepRecord
from mobile_vla_data.episode.metadata import OUTCOMES, EpisodeMetadata, require_one_of
from mobile_vla_data.episode.step_checks import WriterError, require_arguments, require_image, require_vector

__all__ = ["DiskFullError", "EpisodeWriter", "WriterError"]

#: Kept free on top of a block, for HDF5's own tables: it cannot be interrupted by a full disk without losing the file.
_SPARE_BYTES = 1 << 20
#: A block is also closed when its images reach this size, so that raw episodes do not collect in memory.
_BLOCK_BYTES = 8 << 20


class EpisodeWriter:
    """Writes one episode into a dataset folder. Not thread-safe: one thread owns it.

    Args:
        dataset: folder, created if missing.
        contract: the robot's contract; a copy goes into the file, and every step is checked against it.
        metadata: what the episode is.
        cameras: names of the cameras that every step will bring, out of the contract's.
        encoding: ``jpeg`` or ``raw``.
        jpeg_quality: 1 .. 100.
        episode_id: ``episode_NNNNNN``; None takes the next free one.

    Raises:
        WriterError: an argument is wrong or the episode id is taken.
        DiskFullError: the disk is full.
    """

    def __init__(
        self,
        dataset: str | Path,
        contract: Contract,
        metadata: EpisodeMetadata,
        *,
        cameras: Sequence[str],
        encoding: str = schema.JPEG,
        jpeg_quality: int = 95,
        episode_id: str | None = None,
    ) -> None:
        require_arguments(contract, cameras, encoding, jpeg_quality, episode_id)
        self._dataset = Path(dataset)
        self._dataset.mkdir(parents=True, exist_ok=True)
        require_space(self._dataset, _SPARE_BYTES, self._dataset)
        self._quality = jpeg_quality
        self._header, self._journal = self._claim(
            episode_id,
            EpisodeHeader("", metadata, contract, tuple(cameras), encoding, jpeg_quality, _now()),
        )
        self._part = schema.part_path(self._dataset, self.episode_id)
        try:
            self._builder = EpisodeFileBuilder(self._part, self._header)
        except OSError as error:
            self._journal.close()
            self._journal.path.unlink()
            raise as_disk_full(error, self._part) from None
        self._pending: list[StepRecord] = []
        self._pending_bytes = 0
        # The first camera is encoded in the caller's thread, every other in one of these; they start when needed.
        self._encoders = ThreadPoolExecutor(max(1, len(cameras) - 1), thread_name_prefix="jpeg")
        self._streams: tuple[str, ...] | None = None
        self._last_stamp_ns = 0
        self._num_steps = 0
        self._open = True

    @property
    def episode_id(self) -> str:
        """``episode_NNNNNN``."""
        return self._header.episode_id

    @property
    def num_steps(self) -> int:
        """Steps taken so far."""
        return self._num_steps

    def add_step(
        self,
        *,
        stamp_ns: int,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.NDArray[np.float32],
        action: npt.NDArray[np.float32],
        stamps_ns: Mapping[str, int],
        takeover: bool = False,
    ) -> None:
        """Append one step; when this returns, the step survives the death of the process.

        Args:
            stamp_ns: the control tick, later than the one before.
            images: camera -> RGB uint8 ``[height, width, 3]`` of the contract's size, for every camera of the episode.
            state: float32 ``[3]``: x [m], y [m], gripper 0 open .. 1 closed.
            action: float32 ``[3]``: delta_x [m], delta_y [m], gripper 0 or 1.
            stamps_ns: stream -> when its value was captured; the same streams in every step.
            takeover: whether a human was in command.

        Raises:
            WriterError: a value does not fit; the episode stays open without this step.
            DiskFullError: the disk is full; the episode is closed and what was written can be recovered.
        """
        self._require_open()
        step = StepRecord(
            int(stamp_ns),
            self._encode_all(images),
            require_vector("state", state),
            require_vector("action", action),
            {stream: int(stamp) for stream, stamp in stamps_ns.items()},
            bool(takeover),
        )
        self._check_order(step)
        with self._closing_on_failure():
            self._journal.append(step)
            self._pending.append(step)
            self._pending_bytes += step.nbytes
            self._num_steps += 1
            if len(self._pending) >= BLOCK_STEPS or self._pending_bytes >= _BLOCK_BYTES:
                self._flush()
        self._last_stamp_ns, self._streams = step.stamp_ns, tuple(step.stamps_ns)

    def commit(
        self,
        outcome: str,
        dropped_ticks: int = 0,
        *,
        recovered: bool = False,
        input_counters: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Path:
        """Complete the episode and give it its final name; returns its path.

        Args:
            outcome: success, failure or unlabelled.
            dropped_ticks: control ticks that found no complete, fresh observation.
            recovered: whether it was rebuilt after a crash.
            input_counters: stream -> counts of its late, missing, repeated and refused inputs.

        Raises:
            WriterError: no step was added; call :meth:`discard` instead.
            DiskFullError: the disk is full; what was written can be recovered.
        """
        self._require_open()
        require_one_of("outcome", outcome, OUTCOMES)
        if not self._num_steps:
            raise WriterError(f"{self.episode_id} has no steps; discard it")
        optional: dict[str, Any] = {schema.RECOVERED: True} if recovered else {}
        if input_counters is not None:
            optional[schema.INPUT_COUNTERS] = json.dumps(
                {stream: dict(counts) for stream, counts in input_counters.items()}, sort_keys=True
            )
        final = schema.final_path(self._dataset, self.episode_id)
        with self._closing_on_failure():
            self._flush()
            self._builder.finish(outcome, dropped_ticks, optional)
            publish(self._part, final)
        self._open = False
        self._encoders.shutdown(wait=False)
        self._journal.close()
        self._journal.path.unlink()
        return final

    def discard(self) -> None:
        """Remove every trace of the episode. Idempotent; does nothing after :meth:`commit`."""
        if self._open or self._journal.path.exists():
            self.abandon()
            self._part.unlink(missing_ok=True)
            self._journal.path.unlink(missing_ok=True)
            fsync_path(self._dataset)

    def abandon(self) -> None:
        """Close the files and leave them for ``mobile-vla-data recover``. Idempotent."""
        self._open = False
        self._encoders.shutdown(wait=False)
        self._journal.close()
        # A full disk can keep HDF5 from closing its file; the journal holds everything.
        with contextlib.suppress(OSError, RuntimeError):
            self._builder.close()

    def _claim(self, episode_id: str | None, header: EpisodeHeader) -> tuple[EpisodeHeader, Journal]:
        """Create the journal, which reserves the episode id against every other writer."""
        while True:
            claimed = episode_id or schema.format_id(next_number(self._dataset))
            header = replace(header, episode_id=claimed)
            if schema.final_path(self._dataset, claimed).exists():
                raise WriterError(f"{schema.final_path(self._dataset, claimed)} exists already; choose another id")
            try:
                return header, Journal(schema.journal_path(self._dataset, claimed), header)
            except FileExistsError:
                if episode_id is not None:
                    raise WriterError(
                        f"{schema.journal_path(self._dataset, claimed)} exists: an episode of this id is open or "
                        f"unfinished; run 'mobile-vla-data recover {self._dataset}'"
                    ) from None

    def _encode_all(self, images: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[np.uint8]]:
        checked = {camera: require_image(self._header, camera, images) for camera in self._header.cameras}
        if self._header.encoding == schema.RAW:
            # The caller may fill the same buffer again before the block is written.
            return {camera: image.copy() for camera, image in checked.items()}
        # The encoder works outside Python's lock, so that two cameras take hardly longer than one.
        (first, *others) = checked
        futures = {camera: self._encoders.submit(jpeg.encode, checked[camera], self._quality) for camera in others}
        encoded = {first: jpeg.encode(checked[first], self._quality)}
        encoded |= {camera: future.result() for camera, future in futures.items()}
        return {camera: np.frombuffer(data, dtype=np.uint8) for camera, data in encoded.items()}

    def _check_order(self, step: StepRecord) -> None:
        if step.stamp_ns <= self._last_stamp_ns:
            raise WriterError(f"stamp_ns {step.stamp_ns} is not later than the step before, {self._last_stamp_ns}")
        if self._streams is None:
            missing = [camera for camera in self._header.cameras if camera not in step.stamps_ns]
            if missing:
                raise WriterError(f"stamps_ns: the capture time of camera '{missing[0]}' is missing")
        elif set(step.stamps_ns) != set(self._streams):
            raise WriterError(
                f"stamps_ns has streams {sorted(step.stamps_ns)}; the first step had {sorted(self._streams)}"
            )

    def _flush(self) -> None:
        if self._pending:
            require_space(self._dataset, self._pending_bytes + _SPARE_BYTES, self._part)
            self._builder.append(self._pending)
            self._pending, self._pending_bytes = [], 0

    def _closing_on_failure(self) -> _ClosingOnFailure:
        return _ClosingOnFailure(self)

    def _require_open(self) -> None:
        if not self._open:
            raise WriterError(f"{self.episode_id} is closed; start another episode")


class _ClosingOnFailure:
    """Closes the writer when the disk refuses, keeping what was written, and names a full disk."""

    def __init__(self, writer: EpisodeWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._writer.abandon()
        if isinstance(error, OSError):
            raise as_disk_full(error, self._writer._part) from None


def _now() -> str:
    return datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
