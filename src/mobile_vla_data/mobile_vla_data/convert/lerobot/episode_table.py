"""Rows of ``meta/episodes`` in a LeRobotDataset: place, metadata and statistics of each episode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.labels import describe
from mobile_vla_data.convert.lerobot.layout import image_key
from mobile_vla_data.convert.lerobot.statistics import NAMES
from mobile_vla_data.episode.metadata import parse_environment
from mobile_vla_data.episode.reader import Episode

#: Columns that LeRobot does not know: what an episode says about itself, so that an import gives it back.
TEXT_COLUMNS = (
    "episode_id",
    "outcome",
    "category",
    "task_name",
    "source",
    "environment",
    "contract",
    "created_at",
    "split",
    "image_encoding",
    "source_encodings",
    "input_counters",
)


def metadata_row(episode: Episode, cameras: Sequence[str], split: str) -> dict[str, Any]:
    """Return the metadata of an episode, one value a column. Raises :class:`EpisodeError`."""
    row = describe(episode, split, cameras)
    return {
        **{name: value for name, value in row.items() if name not in ("language", "task")},
        "task_name": row["task"],
        "environment": episode.metadata.environment_json,
        "contract": episode.contract.to_json(),
        "source_encodings": json.dumps(row["source_encodings"]),
        "input_counters": json.dumps(row["input_counters"], sort_keys=True),
    }


def labels_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object of :func:`~mobile_vla_data.convert.labels.describe` from a row of ``meta/episodes``.

    The instruction is not in it. Empty for a row that :func:`metadata_row` did not write.

    Raises:
        MetadataError: its environment is not a JSON object.
    """
    if any(row.get(name) is None for name in ("episode_id", "contract", "category", "task_name")):
        return {}
    known = {name: value for name, value in row.items() if value is not None}
    return {
        **known,
        "task": row["task_name"],
        "environment": parse_environment(known.get("environment", "")),
        **{name: json.loads(known.get(name) or "{}") for name in ("contract", "source_encodings", "input_counters")},
    }


def schema_of(cameras: Sequence[str], vectors: Sequence[str], *, video: bool) -> Any:
    """Arrow schema of ``meta/episodes``: the same in every file, also where a column is empty in one."""
    arrow = import_extra("pyarrow", "lerobot")
    fields: dict[str, Any] = {
        "episode_index": arrow.int64(),
        "tasks": arrow.list_(arrow.string()),
        "length": arrow.int64(),
        "data/chunk_index": arrow.int64(),
        "data/file_index": arrow.int64(),
        "dataset_from_index": arrow.int64(),
        "dataset_to_index": arrow.int64(),
        "meta/episodes/chunk_index": arrow.int64(),
        "meta/episodes/file_index": arrow.int64(),
    }
    for camera in cameras if video else ():
        fields |= {f"videos/{image_key(camera)}/{name}": arrow.int64() for name in ("chunk_index", "file_index")}
        fields |= {f"videos/{image_key(camera)}/{name}": arrow.float64() for name in ("from_timestamp", "to_timestamp")}
    fields |= {name: arrow.string() for name in TEXT_COLUMNS}
    fields |= {
        "language_alternatives": arrow.list_(arrow.string()),
        "dropped_ticks": arrow.int64(),
        "recovered": arrow.bool_(),
        "jpeg_quality": arrow.int64(),
        "lost_yaw_rad": arrow.float64(),
    }
    numbers = arrow.list_(arrow.float64())
    for key, kind in (
        *((image_key(camera), arrow.list_(arrow.list_(numbers))) for camera in cameras),
        *((vector, numbers) for vector in vectors),
    ):
        fields |= {f"stats/{key}/{name}": arrow.list_(arrow.int64()) if name == "count" else kind for name in NAMES}
    return arrow.schema(list(fields.items()))
