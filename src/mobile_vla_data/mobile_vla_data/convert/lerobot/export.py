"""Dataset folder to LeRobotDataset v3.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data import __version__
from mobile_vla_data.convert.building import Progress, building, require_new
from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.lerobot import data_table
from mobile_vla_data.convert.lerobot.layout import (
    DATA_PATH,
    INFO_PATH,
    STATS_PATH,
    TASKS_PATH,
    file_indices,
    fps,
    image_key,
    info,
    vector_features,
)
from mobile_vla_data.convert.lerobot.shard import (
    Shard,
    VideoSettings,
    image_statistics,
    is_complete,
    plan_shards,
    write_shard,
)
from mobile_vla_data.convert.lerobot.statistics import ImageStatistics, vector_statistics
from mobile_vla_data.convert.lerobot.video import describe
from mobile_vla_data.convert.selection import Selection, select
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_data.storage.durable import make_atomically, write_text_atomically

#: Size of the episodes that share files: LeRobot's limit for data. Videos are smaller than the images they come from.
_SHARD_BYTES = 100 << 20


@dataclass(frozen=True)
class LeRobotExport:
    """Options of an export to LeRobot."""

    video: VideoSettings | None
    """None: images instead of videos."""
    cameras: tuple[str, ...] = ()
    """Cameras to take; empty for all."""
    outcomes: tuple[str, ...] = ()
    """Outcomes to take; empty for all."""


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    target: Path
    episodes: int
    steps: int
    splits: dict[str, int]
    continued: bool
    """True if it continued an interrupted export."""


def export_lerobot(
    dataset: str | Path,
    target: str | Path,
    options: LeRobotExport,
    progress: Progress | None = None,
    spread: Spread = HERE,
) -> Exported:
    """Write a dataset as a LeRobotDataset v3.0 to the new folder ``target``.

    Interrupted, it leaves the hidden folder ``.TARGET.export``, which the next call with the same arguments continues.

    Args:
        dataset: dataset folder.
        target: folder that must not exist.
        options: what to export, and how.
        progress: called with images done and images in all.
        spread: where groups of episodes are written. The result does not depend on it.

    Raises:
        ConvertError: ``target`` exists, the dataset does not fit, or a library is missing.
        ContractError: the contracts of two episodes differ in meaning.
        EpisodeError: a file cannot be read.
        FolderBusyError: another process writes the same export.
        OSError: the disk is full.
    """
    target = Path(target)
    require_new(target)
    selection = select(dataset, options.cameras, options.outcomes)
    shards = plan_shards(selection, _SHARD_BYTES)
    languages = dict.fromkeys(episode.language for episode in selection.episodes)
    tasks = {language: number for number, language in enumerate(languages)}
    total = selection.num_steps * len(selection.cameras)
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    with building(target, _plan(selection, options)) as (work, continued):
        left = [shard for shard in shards if not is_complete(work, shard)]
        advance(total - sum(_images(shard, selection) for shard in left))
        # Other processes report a whole shard.
        report, on_shard = (_ignore, advance) if spread.many else (advance, _ignore)
        prepare = partial(_Exporter, work, selection, tasks, options.video, report)
        for images in spread.run(prepare, _Exporter.write, left):
            on_shard(images)
        _write_metadata(work, shards, selection, tasks, options.video)
    splits = {name: len(ids) for name, ids in selection.split_ranges.items()}
    return Exported(target, len(selection.episodes), selection.num_steps, splits, continued)


@dataclass(frozen=True)
class _Exporter:
    work: Path
    selection: Selection
    tasks: dict[str, int]
    video: VideoSettings | None
    report: Callable[[int], None]

    def write(self, shard: Shard) -> int:
        """Write a shard; return the number of its images."""
        write_shard(self.work, shard, self.selection, self.tasks, self.video, self.report)
        return _images(shard, self.selection)


def _images(shard: Shard, selection: Selection) -> int:
    return sum(episode.num_steps for episode in shard.episodes) * len(selection.cameras)


def _ignore(images: int) -> None:
    del images


def _plan(selection: Selection, options: LeRobotExport) -> dict[str, Any]:
    """Return everything that determines the content of the files."""
    return {
        "software_version": __version__,
        "options": asdict(options),
        "cameras": selection.cameras,
        "episodes": selection.identity,
    }


def _write_metadata(
    work: Path, shards: list[Shard], selection: Selection, tasks: dict[str, int], video: VideoSettings | None
) -> None:
    stats: dict[str, Any] = {}
    for camera, statistics in _all_image_statistics(work, shards, selection).items():
        stats[image_key(camera)] = statistics.summary()
    for key in vector_features(selection):
        stats[key] = vector_statistics(_whole_column(work, shards, key))
    write_text_atomically(work / STATS_PATH, json.dumps(stats, indent=2) + "\n")
    _write_tasks(work / TASKS_PATH, tasks)
    about = None if video is None else describe(video.codec, video.crf, fps(selection))
    write_text_atomically(work / INFO_PATH, json.dumps(info(selection, about, len(tasks)), indent=2) + "\n")


def _all_image_statistics(work: Path, shards: Iterable[Shard], selection: Selection) -> dict[str, ImageStatistics]:
    totals = {camera: ImageStatistics() for camera in selection.cameras}
    for shard in shards:
        for camera, statistics in image_statistics(work, shard).items():
            totals[camera].add_all(statistics)
    return totals


def _whole_column(work: Path, shards: Iterable[Shard], key: str) -> Any:
    """One column of all episodes ``[N, D]``: one at a time, so that memory stays small."""
    parquet = import_extra("pyarrow.parquet", "lerobot")
    parts = [
        data_table.column(parquet.read_table(work / DATA_PATH.format(**file_indices(shard.number)), columns=[key]), key)
        for shard in shards
    ]
    values = np.concatenate(parts)
    return values.reshape(len(values), -1)


def _write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """A pandas frame, as LeRobot reads it: ``task_index``, and the instruction as index."""
    arrow = import_extra("pyarrow", "lerobot")
    parquet = import_extra("pyarrow.parquet", "lerobot")
    table = arrow.table({"task_index": arrow.array(tasks.values(), arrow.int64()), "task": list(tasks)})
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, kind, numpy_type in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": described,
        "creator": {"library": "pyarrow", "version": arrow.__version__},
        "pandas_version": "2.2.0",
    }
    table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    make_atomically(path, lambda part: parquet.write_table(table, part))
