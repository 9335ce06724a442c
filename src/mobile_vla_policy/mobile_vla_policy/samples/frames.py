"""Decoded frames, from memory if they fit, from the episode files otherwise."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.reader import Episode, EpisodeError
from mobile_vla_data.image import ImageError
from mobile_vla_policy.preprocess import Frame, resize_frame
from mobile_vla_policy.samples.episodes import EpisodeData

_OPEN_FILES = 64


class Frames(Protocol):
    """Decoded frames at network size."""

    def get(self, episode: int, steps: Sequence[int]) -> Frame:
        """uint8 ``[len(steps), cameras, S, S, 3]``."""
        ...


class FramesInMemory:
    """Every frame decoded and resized once, up front."""

    def __init__(
        self,
        episodes: Sequence[EpisodeData],
        cameras: Sequence[str],
        size: int,
        on_episode: Callable[[], None] = lambda: None,
    ) -> None:
        def decode(episode: EpisodeData) -> Frame:
            frames = decode_frames(episode, range(episode.num_steps), cameras, size)
            on_episode()
            return frames

        # JPEG decoding releases the interpreter lock, HDF5 does not: two threads keep one core's decoder busy.
        with ThreadPoolExecutor(2) as pool:
            self._frames = list(pool.map(decode, episodes))

    def get(self, episode: int, steps: Sequence[int]) -> Frame:
        """uint8 ``[len(steps), cameras, S, S, 3]``."""
        return np.asarray(self._frames[episode][list(steps)])


class FramesOnDisk:
    """Frames decoded on demand. The last files stay open: opening one takes as long as ten frames."""

    def __init__(self, episodes: Sequence[EpisodeData], cameras: Sequence[str], size: int) -> None:
        self._episodes, self._cameras, self._size = episodes, cameras, size
        self._open: OrderedDict[int, Episode] = OrderedDict()
        self._process = os.getpid()

    def get(self, episode: int, steps: Sequence[int]) -> Frame:
        """uint8 ``[len(steps), cameras, S, S, 3]``."""
        return _decode(self._file(episode), steps, self._cameras, self._size)

    def _file(self, episode: int) -> Episode:
        if self._process != os.getpid():
            # In a worker process: HDF5 files that were opened before the fork must not be shared.
            self._open, self._process = OrderedDict(), os.getpid()
        file = self._open.pop(episode, None) or Episode.open(self._episodes[episode].path)
        self._open[episode] = file
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return file


def open_frames(
    episodes: Sequence[EpisodeData],
    cameras: Sequence[str],
    size: int,
    limit_gb: float,
    on_episode: Callable[[], None] = lambda: None,
) -> Frames:
    """Return frames in memory if they take at most ``limit_gb`` [GB], on disk otherwise."""
    steps = sum(episode.num_steps for episode in episodes)
    if steps * len(cameras) * size * size * 3 <= limit_gb * 1e9:
        return FramesInMemory(episodes, cameras, size, on_episode)
    return FramesOnDisk(episodes, cameras, size)


def decode_frames(episode: EpisodeData, steps: Sequence[int], cameras: Sequence[str], size: int) -> Frame:
    """Decode and resize ``steps`` of an episode: uint8 ``[len(steps), cameras, S, S, 3]``."""
    with Episode.open(episode.path) as file:
        return _decode(file, steps, cameras, size)


def _decode(file: Episode, steps: Sequence[int], cameras: Sequence[str], size: int) -> Frame:
    frames = np.empty((len(steps), len(cameras), size, size, 3), dtype=np.uint8)
    for column, camera in enumerate(cameras):
        if file.encoding(camera) == schema.RAW:
            for row, step in enumerate(steps):
                frames[row, column] = resize_frame(file.image(camera, step), size)
        else:
            _decode_jpegs(file, camera, steps, frames[:, column])
    return frames


def _decode_jpegs(file: Episode, camera: str, steps: Sequence[int], frames: Frame) -> None:
    """Fill ``frames`` uint8 ``[len(steps), S, S, 3]``, straight from the decoder where the sizes agree."""
    try:
        for row, blob in enumerate(file.jpegs(camera, steps)):
            if not jpeg.decode_into(blob, frames[row]):
                frames[row] = resize_frame(jpeg.decode(blob), frames.shape[1])
    except ImageError as error:
        raise EpisodeError(f"{file.path}: {schema.image_path(camera)}: {error}") from None
