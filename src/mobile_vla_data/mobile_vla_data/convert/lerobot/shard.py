"""One group of files of an export: some episodes' numbers, images or videos, and metadata.

A group depends only on its episodes and on where they begin, so groups can be written in any order, again after an
interruption, or by several processes. The file of ``meta/episodes`` is written last: if it exists, the group is
complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.lerobot import data_table, episode_table
from mobile_vla_data.convert.lerobot.layout import (
    DATA_PATH,
    EPISODES_PATH,
    VIDEO_PATH,
    file_indices,
    fps,
    image_key,
    vector_features,
)
from mobile_vla_data.convert.lerobot.statistics import ImageStatistics, sampled_steps, vector_statistics
from mobile_vla_data.convert.lerobot.video import VideoWriter
from mobile_vla_data.convert.selection import SelectedEpisode, Selection
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import Image
from mobile_vla_data.storage.durable import publish, write_text_atomically

#: Images read from an episode at a time.
_BLOCK_STEPS = 64
#: Counts of image values, kept until the export has its name: the statistics of the whole dataset are made of them.
_COUNTS = ".images-{number:06d}.json"


@dataclass(frozen=True)
class VideoSettings:
    """Encoding of the videos."""

    codec: str
    crf: int


@dataclass(frozen=True)
class Shard:
    """Episodes that share files."""

    number: int
    episodes: tuple[SelectedEpisode, ...]
    first_episode: int
    """Position of the first episode in the dataset."""
    first_frame: int
    """Steps of all episodes before."""


def plan_shards(selection: Selection, max_bytes: int) -> list[Shard]:
    """Group the episodes into groups of at most ``max_bytes``, or of one larger episode."""
    shards: list[Shard] = []
    group: list[SelectedEpisode] = []
    first_episode = first_frame = 0
    for episode in (*selection.episodes, None):
        if group and (episode is None or sum(item.size_bytes for item in group) + episode.size_bytes > max_bytes):
            shards.append(Shard(len(shards), tuple(group), first_episode, first_frame))
            first_episode += len(group)
            first_frame += sum(item.num_steps for item in group)
            group = []
        if episode is not None:
            group.append(episode)
    return shards


def is_complete(work: Path, shard: Shard) -> bool:
    """Return whether all files of a shard are in the folder of an export."""
    last = work / EPISODES_PATH.format(**file_indices(shard.number))
    return last.is_file() and _counts_path(work, shard).is_file()


def image_statistics(work: Path, shard: Shard) -> dict[str, ImageStatistics]:
    """Camera -> statistics of a complete shard's images."""
    found = json.loads(_counts_path(work, shard).read_text(encoding="utf-8"))
    return {
        camera: ImageStatistics(np.array(counts, dtype=np.int64), images) for camera, (images, counts) in found.items()
    }


def write_shard(
    work: Path,
    shard: Shard,
    selection: Selection,
    tasks: Mapping[str, int],
    video: VideoSettings | None,
    progress: Callable[[int], None],
) -> None:
    """Write the files of a shard into the folder of an export.

    Args:
        work: that folder.
        shard: which episodes.
        selection: the export's episodes and cameras.
        tasks: instruction -> its number.
        video: how to make videos; None embeds the images into the table.
        progress: called with the number of images done since the last call.

    Raises:
        EpisodeError: an episode cannot be read.
        ConvertError: an episode changed since the export began, or a library is missing.
        OSError: the disk is full.
    """
    arrow, parquet = import_extra("pyarrow", "lerobot"), import_extra("pyarrow.parquet", "lerobot")
    parts = _Parts(work, file_indices(shard.number))
    rows = []
    with _ShardWriter(parts, shard, selection, video, progress) as writer:
        frame = shard.first_frame
        for number, item in enumerate(shard.episodes, start=shard.first_episode):
            with Episode.open(item.path) as episode:
                if episode.num_steps != item.num_steps:
                    raise ConvertError(f"{item.path}: changed during the export; run the same command again")
                rows.append(writer.write(episode, item, number, frame, tasks[item.language]))
            frame += item.num_steps
        totals = writer.totals
    parts.publish()
    counts = {camera: [statistics.images, statistics.counts.tolist()] for camera, statistics in totals.items()}
    write_text_atomically(_counts_path(work, shard), json.dumps(counts))
    columns = episode_table.schema_of(selection.cameras, list(vector_features(selection)), video=video is not None)
    parquet.write_table(arrow.Table.from_pylist(rows, columns), parts.open(EPISODES_PATH), compression="snappy")
    parts.publish()


class _ShardWriter:
    """The open data file and videos of a shard. A context manager."""

    def __init__(
        self,
        parts: _Parts,
        shard: Shard,
        selection: Selection,
        video: VideoSettings | None,
        progress: Callable[[int], None],
    ) -> None:
        self._selection = selection
        self._files = file_indices(shard.number)
        self._fps = fps(selection)
        self._features = vector_features(selection)
        self._progress = progress
        self._stack = ExitStack()
        parquet = import_extra("pyarrow.parquet", "lerobot")
        columns = data_table.schema_of(selection.cameras, self._features, video=video is not None)
        self._data = self._stack.enter_context(parquet.ParquetWriter(parts.open(DATA_PATH), columns))
        self._videos = (
            {} if video is None else {camera: self._open_video(parts, camera, video) for camera in selection.cameras}
        )
        self.totals = {camera: ImageStatistics() for camera in selection.cameras}
        """Camera -> statistics of the images written so far."""

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(
        self, episode: Episode, item: SelectedEpisode, number: int, first_frame: int, task_index: int
    ) -> dict[str, Any]:
        """Append an episode; returns its row of ``meta/episodes``."""
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [item.language],
            "length": item.num_steps,
            **{f"data/{name}": index for name, index in self._files.items()},
            "dataset_from_index": first_frame,
            "dataset_to_index": first_frame + item.num_steps,
            **{f"meta/episodes/{name}": index for name, index in self._files.items()},
            **episode_table.metadata_row(episode, self._selection.cameras, item.split),
        }
        embedded: dict[str, list[dict[str, Any]]] = {}
        for camera in self._selection.cameras:
            statistics = ImageStatistics()
            if camera in self._videos:
                row |= self._write_video(episode, camera, statistics)
            else:
                embedded[camera] = _embed(episode, camera, statistics)
            row |= _stats(image_key(camera), statistics.summary())
            self.totals[camera].add_all(statistics)
            self._progress(item.num_steps)
        vectors = {
            **data_table.step_vectors(episode, self._features),
            **data_table.counting_vectors(item.num_steps, self._fps, number, first_frame, task_index),
        }
        # One row group an episode, as LeRobot has it: a reader fetches an episode without its neighbours.
        self._data.write_table(data_table.to_table(vectors, embedded, self._data.schema))
        for key, values in vectors.items():
            row |= _stats(key, vector_statistics(values.reshape(item.num_steps, -1)))
        return row

    def _write_video(self, episode: Episode, camera: str, statistics: ImageStatistics) -> dict[str, Any]:
        """Append an episode's images to a camera's video; return their place for ``meta/episodes``."""
        video, prefix = self._videos[camera], f"videos/{image_key(camera)}"
        begin = video.frames
        sampled = sampled_steps(episode.num_steps)
        for step, (data, image) in enumerate(_images(episode, camera)):
            decoded = jpeg.decode(data) if image is None else image
            video.add(decoded, keyframe=step == 0)
            if step in sampled:
                statistics.add(decoded)
        return {
            **{f"{prefix}/{name}": index for name, index in self._files.items()},
            f"{prefix}/from_timestamp": begin / self._fps,
            f"{prefix}/to_timestamp": video.frames / self._fps,
        }

    def _open_video(self, parts: _Parts, camera: str, video: VideoSettings) -> VideoWriter:
        path, size = parts.open(VIDEO_PATH, image_key(camera)), self._selection.contract.cameras[camera]
        return self._stack.enter_context(VideoWriter(path, video.codec, video.crf, self._fps, size.height, size.width))


def _embed(episode: Episode, camera: str, statistics: ImageStatistics) -> list[dict[str, Any]]:
    """Return an episode's images, JPEG as they are stored, raw ones as PNG: neither loses anything."""
    sampled = sampled_steps(episode.num_steps)
    rows = []
    for step, (data, image) in enumerate(_images(episode, camera)):
        if step in sampled:
            statistics.add(jpeg.decode(data) if image is None else image)
        suffix = "jpg" if image is None else "png"
        rows.append({"bytes": data if image is None else _png(image), "path": f"frame-{step:06d}.{suffix}"})
    return rows


def _images(episode: Episode, camera: str) -> Iterator[tuple[bytes, Image | None]]:
    """Yield each step's JPEG bytes and no image, or no bytes and the raw image."""
    for first in range(0, episode.num_steps, _BLOCK_STEPS):
        steps = range(first, min(first + _BLOCK_STEPS, episode.num_steps))
        if episode.encoding(camera) == schema.JPEG:
            yield from ((bytes(data), None) for data in episode.jpegs(camera, steps))
        else:
            yield from ((b"", episode.image(camera, step)) for step in steps)


def _stats(key: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {f"stats/{key}/{name}": value for name, value in summary.items()}


def _png(image: Image) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return data.tobytes()


class _Parts:
    """Files that are renamed together when all are complete."""

    def __init__(self, work: Path, files: Mapping[str, int]) -> None:
        self._work = work
        self._files = files
        self._open: dict[Path, Path] = {}

    def open(self, template: str, video_key: str = "") -> Path:
        """Return where to write the file with this name."""
        final = self._work / template.format(**self._files, video_key=video_key)
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{final.name}.part")
        self._open[part] = final
        return part

    def publish(self) -> None:
        """Give all files opened so far their names."""
        for part, final in self._open.items():
            publish(part, final)
        self._open = {}


def _counts_path(work: Path, shard: Shard) -> Path:
    return work / _COUNTS.format(number=shard.number)
