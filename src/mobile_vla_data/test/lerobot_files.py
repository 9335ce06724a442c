"""Exports of LeRobotDatasets and their way back, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode

IMAGES = LeRobotExport(None)
VIDEO = LeRobotExport(VideoSettings("h264", 20))
NUMBERS = ("states", "actions", "timestamps_ns", "takeover", "target")
WORDS = (
    *("metadata", "outcome", "created_at", "dropped_ticks", "recovered", "contract", "input_counters", "episode_id"),
    *("lost_yaw_rad", "language_alternatives"),
)


def round_trip(dataset: Path, options: LeRobotExport, tmp_path: Path) -> Path:
    export_lerobot(dataset, tmp_path / "lerobot", options)
    import_lerobot(tmp_path / "lerobot", tmp_path / "back", LeRobotImport())
    return tmp_path / "back"


def require_equal_numbers(first: Path, second: Path) -> None:
    assert Dataset(first).episode_ids == Dataset(second).episode_ids
    for before_path, after_path in zip(Dataset(first).episode_paths, Dataset(second).episode_paths, strict=True):
        with Episode.open(before_path) as before, Episode.open(after_path) as after:
            for name in NUMBERS:
                np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)
            for name in WORDS:
                assert getattr(before, name) == getattr(after, name), name
            for camera in before.cameras:
                assert before.source_encoding(camera) == after.source_encoding(camera)
            assert before.stamps_ns.keys() == after.stamps_ns.keys()
            for stream, stamps in before.stamps_ns.items():
                np.testing.assert_array_equal(stamps, after.stamps_ns[stream], err_msg=stream)
