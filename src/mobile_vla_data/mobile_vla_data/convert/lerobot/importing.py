"""LeRobotDataset v3.0 to a dataset folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.adopt import Imported, Numbers, adopting
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.labels import Defaults, Labels, describe, restore, written_at
from mobile_vla_data.convert.lerobot import data_table
from mobile_vla_data.convert.lerobot.episode_table import labels_of
from mobile_vla_data.convert.lerobot.layout import (
    ACTION_KEY,
    INTERVENTION_KEY,
    NO_STAMP,
    STATE_KEY,
    TARGET_KEY,
    TICK_KEY,
    stamp_key,
)
from mobile_vla_data.convert.lerobot.source import LeRobotSource, SourceEpisode
from mobile_vla_data.convert.lerobot.video import VideoReader
from mobile_vla_data.convert.pixels import is_jpeg, stored_from_bytes, stored_from_image
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import fingerprint
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.metadata import EpisodeHeader
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.steps import StepRecord
from mobile_vla_data.image import ImageError


@dataclass(frozen=True)
class LeRobotImport:
    """Options of an import; a dataset that this program exported carries its own values, which come first."""

    contract: Contract | None = None
    """The robot's contract, for a dataset that was not exported by this program."""
    language: str = ""
    """Instruction of episodes without a task."""
    category: str = ""
    """Category of all episodes, for a dataset that was not exported by this program."""
    originals: Path | None = None
    """Dataset folder from which the source was exported, for labels that other tools removed since."""
    encoding: str | None = None
    """jpeg or raw; None: as the images were before the export."""
    jpeg_quality: int | None = None
    """Quality of images that have to be encoded; None: as before the export, or 95."""


def import_lerobot(
    source: str | Path,
    dataset: str | Path,
    options: LeRobotImport,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Add the episodes of a LeRobotDataset v3.0 to a dataset folder, which is created if missing.

    Raises:
        ConvertError: the source is not a LeRobotDataset v3.0, is damaged, or does not fit the contract.
        DatasetError: ``originals`` is no dataset folder.
        ContractError: the dataset has episodes under another contract.
        DatasetBusyError: another process writes to the dataset.
        OSError: the disk is full.
    """
    reading = LeRobotSource.open(source)
    result = Imported(Path(dataset))
    with adopting(dataset) as adoption, _Importer(reading, options) as importer:
        several = 0
        for number, episode in enumerate(reading.episodes(), start=1):
            labels = importer.labels(episode)
            several += episode.num_tasks > 1
            numbers = importer.numbers(episode, labels.header.contract)
            steps = importer.steps(episode, labels, numbers)
            adoption.adopt(numbers, labels, steps, f"{reading.path}, episode {episode.index}", result)
            if progress is not None:
                progress(number, reading.num_episodes)
        if several:
            adoption.notes.append(f"{several} episodes have several tasks; each got that of its first step")
        result.splits_written = adoption.write_splits()
        result.notes = adoption.notes
    return result


class _Importer:
    """Reads the parts of an episode file from a LeRobotDataset. A context manager."""

    def __init__(self, source: LeRobotSource, options: LeRobotImport) -> None:
        self._source = source
        self._options = options
        self._videos = {key: VideoReader(source.fps) for key in source.camera_keys.values() if source.is_video(key)}
        self._created_at = written_at(source.path)
        self._originals = _labels_by_fingerprint(options.originals) if options.originals is not None else {}

    def __enter__(self) -> _Importer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for video in self._videos.values():
            video.close()

    def labels(self, episode: SourceEpisode) -> Labels:
        """Return header and ending of an episode: its own where it has them, else those of the options."""
        given = self._options
        defaults = Defaults(given.contract, given.language, given.category, given.encoding, given.jpeg_quality)
        found = labels_of(episode.row) or self._original(episode) or {"split": episode.split}
        if episode.language:
            found["language"] = episode.language
        labels = restore(found, self._source.camera_keys, defaults, self._name(episode), self._created_at)
        rate_hz = labels.header.contract.control_rate_hz
        if not math.isclose(self._source.fps, rate_hz):
            raise ConvertError(
                f"{self._source.path}: has {self._source.fps:g} steps per second, the contract's control_rate_hz is "
                f"{rate_hz:g}; give a contract with control_rate_hz: {self._source.fps:g}"
            )
        if given.encoding is None and self._has_jpegs(episode, labels.header.cameras):
            return replace(labels, header=replace(labels.header, encoding=schema.JPEG))
        return labels

    def _original(self, episode: SourceEpisode) -> dict[str, Any]:
        """Return the labels of the episode with the same numbers in the dataset of the options."""
        if not self._originals:
            if TICK_KEY in self._source.features and self._options.contract is None:
                raise ConvertError(
                    f"{self._source.path}: has no labels, as LeRobot's tools leave it; give --labels with the dataset "
                    "from which it was exported, or --contract and --category"
                )
            return {}
        contract = Contract.from_dict(next(iter(self._originals.values()))["contract"])
        found = self._originals.get(self.numbers(episode, contract).fingerprint)
        if found is None:
            raise ConvertError(
                f"{self._name(episode)}: no episode of {self._options.originals} has the same ticks, states and "
                "actions; leave out --labels, and give --contract and --category"
            )
        return dict(found)

    def numbers(self, episode: SourceEpisode, contract: Contract) -> Numbers:
        """Actions, states and ticks of an episode."""
        return Numbers(
            self._vector(episode, ACTION_KEY, action_names(contract)),
            self._vector(episode, STATE_KEY, STATE),
            self._ticks(episode, contract),
        )

    def steps(self, episode: SourceEpisode, labels: Labels, numbers: Numbers) -> Iterator[StepRecord]:
        """Yield the steps of an episode. Raises :class:`ConvertError` when an image is missing or damaged."""
        header = labels.header
        stamps = self._stamps(episode, header)
        takeover = self._optional(episode, INTERVENTION_KEY, np.zeros(len(numbers.ticks_ns), dtype=bool))
        targets = self._optional(episode, TARGET_KEY, None)
        images = {camera: self._images(episode, camera, header) for camera in header.cameras}
        for index, tick_ns in enumerate(numbers.ticks_ns.tolist()):
            target = None if targets is None else tuple(targets[index].tolist())
            yield StepRecord(
                tick_ns,
                {camera: next(frames) for camera, frames in images.items()},
                numbers.states[index],
                numbers.actions[index],
                {stream: int(values[index]) for stream, values in stamps.items()},
                bool(takeover[index]),
                None if target in (None, schema.UNKNOWN_TARGET) else target,
                labels.source_encodings,
            )

    def _images(self, episode: SourceEpisode, camera: str, header: EpisodeHeader) -> Iterator[npt.NDArray[np.uint8]]:
        key, size = self._source.camera_keys[camera], header.contract.cameras[camera]
        if key in self._videos:
            path, first = self._source.video_place(episode.row, key)
            for image in self._videos[key].read(path, first, episode.table.num_rows):
                yield stored_from_image(image, size, header.encoding, header.jpeg_quality)
            return
        for index, value in enumerate(episode.table.column(key)):
            try:
                yield stored_from_bytes(self._bytes(value.as_py()), size, header.encoding, header.jpeg_quality)
            except ImageError as error:
                raise ConvertError(f"{self._name(episode)}: {key}, step {index}: {error}") from None

    def _bytes(self, value: Mapping[str, Any] | None) -> bytes:
        """Return an encoded image. Raises :class:`ImageError` when there is none."""
        if not value or not (value.get("bytes") or value.get("path")):
            raise ImageError("has no image")
        data = value.get("bytes")
        return bytes(data) if data else (self._source.path / str(value.get("path"))).read_bytes()

    def _has_jpegs(self, episode: SourceEpisode, cameras: tuple[str, ...]) -> bool:
        """Return whether images are compressed with loss, so that JPEG is the form to store them in."""
        keys = [self._source.camera_keys[camera] for camera in cameras]
        if any(self._source.is_video(key) for key in keys):
            return True
        first = [episode.table.column(key)[0].as_py() for key in keys]
        return all(is_jpeg(self._bytes(value)) for value in first if value)

    def _vector(self, episode: SourceEpisode, key: str, wanted: tuple[str, ...]) -> npt.NDArray[np.float32]:
        feature = self._source.features.get(key)
        if feature is None:
            raise ConvertError(f"{self._source.path}: feature '{key}' is missing")
        names = _flat_names(feature.get("names"))
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ConvertError(
                f"{self._source.path}: feature '{key}' has no '{missing[0]}'; it has {', '.join(names) or 'no names'}. "
                f"The contract wants {', '.join(wanted)}: rename them in {self._source.path / 'meta/info.json'}"
            )
        values = data_table.column(episode.table, key).reshape(episode.table.num_rows, -1)
        return np.ascontiguousarray(values[:, [names.index(name) for name in wanted]], dtype=np.float32)

    def _ticks(self, episode: SourceEpisode, contract: Contract) -> npt.NDArray[np.int64]:
        if TICK_KEY in self._source.features:
            return np.ascontiguousarray(data_table.column(episode.table, TICK_KEY), dtype=np.int64)
        # Nobody recorded when; the same for each import, so that a repeated one finds its episodes again.
        first = (1 + episode.first_step) * contract.period_ns
        return first + np.arange(episode.table.num_rows, dtype=np.int64) * contract.period_ns

    def _stamps(self, episode: SourceEpisode, header: EpisodeHeader) -> dict[str, npt.NDArray[np.int64]]:
        prefix = stamp_key("")
        found = {
            key.removeprefix(prefix): data_table.column(episode.table, key)
            for key in self._source.features
            if key.startswith(prefix) and key != TICK_KEY
        }
        known = {stream: values for stream, values in found.items() if not (values == NO_STAMP).any()}
        ticks = self._ticks(episode, header.contract)
        return known or dict.fromkeys(header.cameras, ticks)

    def _optional(self, episode: SourceEpisode, key: str, default: Any) -> Any:
        return data_table.column(episode.table, key) if key in self._source.features else default

    def _name(self, episode: SourceEpisode) -> str:
        return f"{self._source.path}, episode {episode.index}"


def _labels_by_fingerprint(dataset: Path) -> dict[str, dict[str, Any]]:
    """Return the labels of every episode of a dataset folder, by the fingerprint of its numbers."""
    folder = Dataset.open(dataset)
    splits = {episode_id: name for name, ids in (folder.splits() or {}).items() for episode_id in ids}
    found = {}
    for path in folder.episode_paths:
        with Episode.open(path) as episode:
            found[fingerprint(episode)] = describe(episode, splits.get(episode.episode_id, ""))
    return found


def _flat_names(names: Any) -> list[str]:
    """Return the names of a feature's columns; LeRobot has lists, dicts of lists, and dicts of positions."""
    if isinstance(names, dict):
        if all(isinstance(place, int) for place in names.values()):
            names = dict(sorted(names.items(), key=lambda item: item[1]))
        groups = [group if isinstance(group, list) else [name] for name, group in names.items()]
        return [str(name) for group in groups for name in group]
    return [str(name) for name in names or ()]
