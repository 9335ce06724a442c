"""Writes one episode: committed completely under its final name, or not at all.

While an episode is open, the dataset folder has a hidden file ``.episode_NNNNNN.h5.part``: a log to which every step is
appended at once (log/). :meth:`EpisodeWriter.commit` makes it an HDF5 file without moving an image, flushes it, names
it and flushes the folder. After a crash, ``repair/recover.py`` does the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.log import EpisodeLog
from mobile_vla_data.episode.metadata import OUTCOMES, Ending, EpisodeHeader, EpisodeMetadata, require_one_of, utc
from mobile_vla_data.episode.step_checks import (
    WriterError,
    require_arguments,
    require_image,
    require_target,
    require_vector,
)
from mobile_vla_data.episode.steps import StepRecord
from mobile_vla_data.storage.durable import DiskFullError, as_disk_full, require_space

__all__ = ["DiskFullError", "EpisodeWriter", "WriterError"]

#: Without so much room an episode is not begun.
_SPARE_BYTES = 1 << 20


class EpisodeWriter:
    """Writes one episode into a dataset folder. Not thread-safe: one thread owns it.

    Args:
        dataset: folder, created if missing.
        contract: the robot's contract; a copy goes into the file, and every step is checked against it.
        metadata: the labels of the episode.
        cameras: names of the cameras that every step brings, out of the contract's.
        encoding: ``jpeg`` or ``raw``.
        jpeg_quality: 1 .. 100.
        episode_id: ``episode_NNNNNN``; None takes the next free one.
        created_at: when recording began, UTC, ISO 8601; None: now.

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
        created_at: str | None = None,
    ) -> None:
        require_arguments(contract, cameras, encoding, jpeg_quality, episode_id)
        self._dataset = Path(dataset)
        self._dataset.mkdir(parents=True, exist_ok=True)
        require_space(self._dataset, _SPARE_BYTES, self._dataset)
        created_at = created_at or utc(time.time())
        self._header, self._log = self._claim(
            episode_id, EpisodeHeader("", metadata, contract, tuple(cameras), encoding, jpeg_quality, created_at)
        )
        # The first camera is encoded in the caller's thread, every other in one of these; they start when needed.
        self._encoders = ThreadPoolExecutor(max(1, len(cameras) - 1), thread_name_prefix="jpeg")
        self._action_names = action_names(contract)
        self._streams: Set[str] | None = None
        self._last_stamp_ns = 0
        self._open = True

    @property
    def episode_id(self) -> str:
        """``episode_NNNNNN``."""
        return self._header.episode_id

    @property
    def num_steps(self) -> int:
        """Steps taken so far."""
        return self._log.num_steps

    def add_step(
        self,
        *,
        stamp_ns: int,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.NDArray[np.float32],
        action: npt.NDArray[np.float32],
        stamps_ns: Mapping[str, int],
        takeover: bool = False,
        target: Sequence[int] | None = None,
        source_encodings: Mapping[str, str] | None = None,
        jpegs: Mapping[str, bytes] | None = None,
    ) -> None:
        """Append one step; when this returns, the step survives the death of the process.

        Args:
            stamp_ns: the control tick, later than the one before.
            images: camera -> RGB uint8 ``[height, width, 3]`` of the contract's size, for every camera of the episode.
            state: float32 ``[3]``: x [m], y [m], gripper 0 open .. 1 closed.
            action: float32 ``[3]``: delta_x [m], delta_y [m], gripper 0 or 1; ``[4]`` with delta_yaw [rad] where the
                contract has it.
            stamps_ns: stream -> when its value was captured; the same streams in every step.
            takeover: whether the operator was in command.
            target: column and row [px] of the instruction's target in the first camera's image; None: not known.
            source_encodings: camera -> encoding of the message that its image came in, for example ``bgr8``.
            jpegs: camera -> JPEG that ``images[camera]`` was decoded from. An episode that stores JPEGs stores it
                unchanged, so that the image does not lose quality twice.

        Raises:
            WriterError: a value does not fit; the episode stays open without this step.
            DiskFullError: the disk is full; the episode is closed and what was written can be recovered.
        """
        self._require_open()
        checked = {camera: require_image(self._header, camera, images) for camera in self._header.cameras}
        numbers = require_vector("state", state, STATE), require_vector("action", action, self._action_names)
        stamps = {stream: int(stamp) for stream, stamp in stamps_ns.items()}
        place = require_target(self._header, target)
        encodings = {name: text for name, text in (source_encodings or {}).items() if name in self._header.cameras}
        self._check_order(int(stamp_ns), stamps)
        step = StepRecord(
            int(stamp_ns), self._encode(checked, jpegs or {}), *numbers, stamps, bool(takeover), place, encodings
        )
        with self._closing_on_failure():
            self._log.append(step)
        self._last_stamp_ns, self._streams = step.stamp_ns, stamps.keys()

    def commit(
        self,
        outcome: str,
        dropped_ticks: int = 0,
        *,
        recovered: bool = False,
        input_counters: Mapping[str, Mapping[str, int]] | None = None,
        lost_yaw_rad: float | None = None,
    ) -> Path:
        """Complete the episode and give it its final name; returns its path.

        Args:
            outcome: success, failure or unlabelled.
            dropped_ticks: control ticks that found no complete, fresh observation.
            recovered: whether it was rebuilt after a crash.
            input_counters: stream -> counts of its late, missing, repeated and refused inputs.
            lost_yaw_rad: turning that was commanded and that no action carries [rad]; None: not counted.

        Raises:
            WriterError: no step was added; call :meth:`discard` instead.
            DiskFullError: the disk is full; what was written can be recovered.
        """
        self._require_open()
        require_one_of("outcome", outcome, OUTCOMES)
        if not self.num_steps:
            raise WriterError(f"{self.episode_id} has no steps; discard it")
        optional: dict[str, Any] = {schema.RECOVERED: True} if recovered else {}
        if input_counters is not None:
            optional[schema.INPUT_COUNTERS] = json.dumps(
                {stream: dict(counts) for stream, counts in input_counters.items()}, sort_keys=True
            )
        if lost_yaw_rad is not None:
            optional[schema.LOST_YAW_RAD] = np.float64(lost_yaw_rad)
        with self._closing_on_failure():
            self.abandon()
            return self._log.commit(Ending(outcome, dropped_ticks, optional))

    def discard(self) -> None:
        """Remove every trace of the episode. Idempotent; does nothing after :meth:`commit`."""
        self.abandon()
        self._log.discard()

    def abandon(self) -> None:
        """Close the file and leave it for ``mobile-vla-data recover``. Idempotent."""
        self._open = False
        self._encoders.shutdown(wait=False)
        self._log.close()

    def _claim(self, episode_id: str | None, header: EpisodeHeader) -> tuple[EpisodeHeader, EpisodeLog]:
        """Create the part, which reserves the episode id against every other writer."""
        while True:
            claimed = episode_id or schema.format_id(schema.next_number(self._dataset))
            header = replace(header, episode_id=claimed)
            if schema.final_path(self._dataset, claimed).exists():
                raise WriterError(f"{schema.final_path(self._dataset, claimed)} exists already; choose another id")
            try:
                return header, EpisodeLog(self._dataset, header)
            except FileExistsError:
                if episode_id is not None:
                    raise WriterError(
                        f"{schema.part_path(self._dataset, claimed)} exists: an episode of this id is open or "
                        f"unfinished; run 'mobile-vla-data recover {self._dataset}'"
                    ) from None

    def _encode(
        self, images: dict[str, npt.NDArray[np.uint8]], jpegs: Mapping[str, bytes]
    ) -> dict[str, npt.NDArray[np.uint8]]:
        if self._header.encoding == schema.RAW:
            return images
        quality, done = self._header.jpeg_quality, {name: data for name, data in jpegs.items() if name in images}
        # The encoder works outside Python's lock, so that two cameras take hardly longer than one.
        (first, *others) = [name for name in images if name not in done] or [""]
        futures = {name: self._encoders.submit(jpeg.encode, images[name], quality) for name in others}
        if first:
            done[first] = jpeg.encode(images[first], quality)
        done |= {name: future.result() for name, future in futures.items()}
        return {camera: np.frombuffer(done[camera], dtype=np.uint8) for camera in images}

    def _check_order(self, stamp_ns: int, stamps_ns: dict[str, int]) -> None:
        if stamp_ns <= self._last_stamp_ns:
            raise WriterError(f"stamp_ns {stamp_ns} is not later than the step before, {self._last_stamp_ns}")
        if self._streams is None:
            missing = [camera for camera in self._header.cameras if camera not in stamps_ns]
            if missing:
                raise WriterError(f"stamps_ns: the capture time of camera '{missing[0]}' is missing")
        elif stamps_ns.keys() != self._streams:
            raise WriterError(f"stamps_ns has streams {sorted(stamps_ns)}; the first step had {sorted(self._streams)}")

    @contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        """Close the writer when the disk refuses, keeping what was written, and name a full disk."""
        try:
            yield
        except BaseException as error:
            self.abandon()
            if isinstance(error, OSError):
                raise as_disk_full(error, self._log.path) from None
            raise

    def _require_open(self) -> None:
        if not self._open:
            raise WriterError(f"{self.episode_id} is closed; start another episode")
