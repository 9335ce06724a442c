"""Where decoded frames come from: memory if they fit, the episode files otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from mobile_vla_data.reader import Episode
from mobile_vla_policy.preprocess import Frame, resize_frame
from mobile_vla_policy.training.episodes import EpisodeData


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
    """Frames decoded when they are asked for; each process opens files of its own."""

    def __init__(self, episodes: Sequence[EpisodeData], cameras: Sequence[str], size: int) -> None:
        self._episodes, self._cameras, self._size = episodes, cameras, size

    def get(self, episode: int, steps: Sequence[int]) -> Frame:
        """uint8 ``[len(steps), cameras, S, S, 3]``."""
        return decode_frames(self._episodes[episode], steps, self._cameras, self._size)


def open_frames(
    episodes: Sequence[EpisodeData],
    cameras: Sequence[str],
    size: int,
    limit_gb: float,
    on_episode: Callable[[], None] = lambda: None,
) -> Frames:
    """Frames in memory if they take at most ``limit_gb`` [GB], on disk otherwise."""
    steps = sum(episode.num_steps for episode in episodes)
    if steps * len(cameras) * size * size * 3 <= limit_gb * 1e9:
        return FramesInMemory(episodes, cameras, size, on_episode)
    return FramesOnDisk(episodes, cameras, size)


def decode_frames(episode: EpisodeData, steps: Sequence[int], cameras: Sequence[str], size: int) -> Frame:
    """Decode and resize ``steps`` of an episode: uint8 ``[len(steps), cameras, S, S, 3]``."""
    frames = np.empty((len(steps), len(cameras), size, size, 3), dtype=np.uint8)
    with Episode.open(episode.path) as file:
        for column, camera in enumerate(cameras):
            for row, step in enumerate(steps):
                frames[row, column] = resize_frame(file.image(camera, step), size)
    return frames
