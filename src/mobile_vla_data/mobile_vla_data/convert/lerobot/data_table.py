"""The numbers of an episode's steps as an Arrow table with LeRobot's columns, one row a step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.convert.extras import import_extra
from mobile_vla_data.convert.lerobot.layout import (
    ACTION_KEY,
    INTERVENTION_KEY,
    NO_STAMP,
    STATE_KEY,
    TARGET_KEY,
    TICK_KEY,
    image_key,
    stamp_key,
)
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.schema import UNKNOWN_TARGET


def step_vectors(episode: Episode, features: Mapping[str, Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Feature name -> values ``[T]`` or ``[T, D]``, for those of ``features`` that the episode has."""
    steps = episode.num_steps
    stamps = {stamp_key(stream): values for stream, values in episode.stamps_ns.items()}
    target = episode.target
    found: dict[str, npt.NDArray[Any]] = {
        STATE_KEY: episode.states,
        ACTION_KEY: episode.actions,
        INTERVENTION_KEY: episode.takeover,
        TICK_KEY: episode.timestamps_ns,
        TARGET_KEY: np.full((steps, 2), UNKNOWN_TARGET, dtype=np.int32) if target is None else target,
        **stamps,
    }
    missing = np.full(steps, NO_STAMP, dtype=np.int64)
    return {
        key: np.asarray(found.get(key, missing), dtype=feature["dtype"])
        for key, feature in features.items()
        if key in found or key.startswith(stamp_key(""))
    }


def counting_vectors(
    num_steps: int, fps: float, episode_index: int, first_index: int, task_index: int
) -> dict[str, npt.NDArray[Any]]:
    """The columns that every LeRobotDataset has, for one episode."""
    steps = np.arange(num_steps, dtype=np.int64)
    return {
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(num_steps, episode_index, dtype=np.int64),
        "index": first_index + steps,
        "task_index": np.full(num_steps, task_index, dtype=np.int64),
    }


def schema_of(cameras: Sequence[str], features: Mapping[str, Mapping[str, Any]], *, video: bool) -> Any:
    """Arrow schema of ``data``; images as LeRobot embeds them, ``{bytes, path}``."""
    arrow = import_extra("pyarrow", "lerobot")
    keys = [] if video else [image_key(camera) for camera in cameras]
    fields = [(key, _image_type(arrow)) for key in keys]
    described: dict[str, Any] = {key: {"_type": "Image"} for key in keys}
    for key, feature in features.items():
        kind = arrow.from_numpy_dtype(np.dtype(feature["dtype"]))
        (width,) = feature["shape"]
        fields.append((key, kind if width == 1 else arrow.list_(kind, width)))
        value = {"dtype": feature["dtype"], "_type": "Value"}
        described[key] = value if width == 1 else {"feature": value, "length": width, "_type": "Sequence"}
    # By this the datasets library knows without LeRobot's metadata that bytes are an image, for example in a stream.
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return arrow.schema(fields, metadata)


def to_table(
    vectors: Mapping[str, npt.NDArray[Any]], images: Mapping[str, Sequence[Mapping[str, Any]]], table_schema: Any
) -> Any:
    """Build the table of one episode out of its vectors and its embedded images, camera -> one for each step."""
    arrow = import_extra("pyarrow", "lerobot")
    columns: dict[str, Any] = {
        image_key(camera): arrow.array(rows, type=_image_type(arrow)) for camera, rows in images.items()
    }
    for key, values in vectors.items():
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        columns[key] = flat if values.ndim == 1 else arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return arrow.table([columns[name] for name in table_schema.names], schema=table_schema)


def column(table: Any, name: str) -> npt.NDArray[Any]:
    """A column of an Arrow table as ``[T]`` or ``[T, D]``."""
    chunks = table.column(name).combine_chunks()
    if not hasattr(chunks, "flatten"):
        return np.asarray(chunks.to_numpy(zero_copy_only=False))
    flat = np.asarray(chunks.flatten().to_numpy(zero_copy_only=False))
    return flat.reshape(len(chunks), -1)


def _image_type(arrow: Any) -> Any:
    return arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
