"""Names, paths and types of a LeRobotDataset v3.0, and where each part of an episode goes in it.

The format is described at https://huggingface.co/docs/lerobot/lerobot-dataset-v3; LeRobot 0.6.1's
``datasets/dataset_writer.py`` and ``datasets/dataset_metadata.py`` are the reference.
"""

from __future__ import annotations

from typing import Any

from mobile_vla_data.action import STATE, action_names
from mobile_vla_data.convert.selection import Selection

CODEBASE_VERSION = "v3.0"
#: Files in one ``chunk-NNN`` folder.
CHUNK_FILES = 1000
DATA_MB, VIDEO_MB = 100, 200

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"

STATE_KEY, ACTION_KEY = "observation.state", "action"
#: LeRobot's own name for steps in which a human had taken over.
INTERVENTION_KEY = "intervention"
TICK_KEY = "stamp_ns.tick"
TARGET_KEY = "annotation.target"
#: A stamp that an episode does not have.
NO_STAMP = -1

_ONE = {"shape": [1], "names": None}
#: Features that every LeRobotDataset has.
DEFAULT_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", **_ONE},
    "frame_index": {"dtype": "int64", **_ONE},
    "episode_index": {"dtype": "int64", **_ONE},
    "index": {"dtype": "int64", **_ONE},
    "task_index": {"dtype": "int64", **_ONE},
}


def image_key(camera: str) -> str:
    """Feature of a camera's images."""
    return f"observation.images.{camera}"


def stamp_key(stream: str) -> str:
    """Feature of the capture times of a stream [ns]; not ``observation.…``, which policies would take as input."""
    return f"stamp_ns.{stream}"


def file_indices(number: int) -> dict[str, int]:
    """``chunk_index`` and ``file_index`` of the file with a running number."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def fps(selection: Selection) -> int | float:
    """Steps per second, an int where it is whole, as LeRobot expects."""
    rate = selection.contract.control_rate_hz
    return int(rate) if rate == int(rate) else rate


def vector_features(selection: Selection) -> dict[str, dict[str, Any]]:
    """Feature name -> description, of everything that is not an image."""
    names = action_names(selection.contract)
    features: dict[str, dict[str, Any]] = {
        STATE_KEY: {"dtype": "float32", "shape": [len(STATE)], "names": list(STATE)},
        ACTION_KEY: {"dtype": "float32", "shape": [len(names)], "names": list(names)},
        INTERVENTION_KEY: {"dtype": "bool", **_ONE},
        TICK_KEY: {"dtype": "int64", **_ONE},
        **{stamp_key(stream): {"dtype": "int64", **_ONE} for stream in selection.streams},
    }
    if selection.has_targets:
        features[TARGET_KEY] = {"dtype": "int32", "shape": [2], "names": ["column", "row"]}
    return {**features, **DEFAULT_FEATURES}


def image_features(selection: Selection, video: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Feature name -> description of each camera's images; ``video`` describes the streams, None: images."""
    features = {}
    for camera in selection.cameras:
        size = selection.contract.cameras[camera]
        feature: dict[str, Any] = {
            "dtype": "image" if video is None else "video",
            "shape": [size.height, size.width, 3],
            "names": ["height", "width", "channels"],
        }
        if video is not None:
            feature["info"] = {"video.height": size.height, "video.width": size.width, **video}
        features[image_key(camera)] = feature
    return features


def info(selection: Selection, video: dict[str, Any] | None, total_tasks: int) -> dict[str, Any]:
    """Content of ``meta/info.json``."""
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": selection.contract.robot,
        "total_episodes": len(selection.episodes),
        "total_frames": selection.num_steps,
        "total_tasks": total_tasks,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps(selection),
        "splits": {name: f"{ids.start}:{ids.stop}" for name, ids in selection.split_ranges.items()},
        "data_path": DATA_PATH,
        "video_path": None if video is None else VIDEO_PATH,
        "features": {**image_features(selection, video), **vector_features(selection)},
    }
