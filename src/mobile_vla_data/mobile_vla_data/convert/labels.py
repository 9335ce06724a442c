"""Labels, contract and counters of an episode as one JSON object, for formats that have no place for them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.metadata import Ending, EpisodeHeader, EpisodeMetadata, utc
from mobile_vla_data.episode.reader import Episode


@dataclass(frozen=True)
class Defaults:
    """Labels for imported episodes that were not exported by this program."""

    contract: Contract | None = None
    language: str = ""
    category: str = ""
    encoding: str | None = None
    """jpeg or raw; None: as before the export, or jpeg."""
    jpeg_quality: int | None = None
    """None: as before the export, or 95."""


@dataclass(frozen=True)
class Labels:
    """Header and ending of an episode."""

    header: EpisodeHeader
    ending: Ending
    split: str
    source_encodings: Mapping[str, str]


def describe(episode: Episode, split: str = "", cameras: Sequence[str] = ()) -> dict[str, Any]:
    """Return labels, contract and counters of an episode, ready for JSON; ``cameras`` are those taken, empty for all.

    Raises:
        EpisodeError: the file cannot be read.
    """
    cameras = cameras or episode.cameras
    metadata, first = episode.metadata, cameras[0]
    encodings = {name: text for name in cameras if (text := episode.source_encoding(name))}
    return {
        "episode_id": episode.episode_id,
        "language": metadata.language,
        "language_alternatives": list(metadata.language_alternatives),
        "task": metadata.task,
        "category": metadata.category,
        "source": metadata.source,
        "environment": dict(metadata.environment),
        "outcome": episode.outcome,
        "created_at": episode.created_at,
        "dropped_ticks": episode.dropped_ticks,
        "recovered": episode.recovered,
        "input_counters": episode.input_counters,
        "lost_yaw_rad": episode.lost_yaw_rad,
        "image_encoding": episode.encoding(first),
        "jpeg_quality": episode.jpeg_quality(first),
        "source_encodings": encodings,
        "split": split,
        "contract": json.loads(episode.contract.to_json()),
    }


def restore(found: Mapping[str, Any], images: Collection[str], defaults: Defaults, origin: str, made_at: str) -> Labels:
    """Return header and ending from the object of :func:`describe`, or from the defaults.

    Args:
        found: object of :func:`describe`; empty for an episode that was not exported by this program.
        images: cameras of which there are images; those of the contract become the episode's.
        defaults: for what ``found`` lacks.
        origin: names the episode in errors.
        made_at: time of recording, for an episode without one.

    Raises:
        ConvertError: neither has the episode's contract, instruction or category; or a required camera has no images.
        ContractError: its contract is wrong.
    """
    for name, known in (
        ("contract", defaults.contract is not None),
        ("language", bool(defaults.language)),
        ("category", bool(defaults.category)),
    ):
        if name not in found and not known:
            raise ConvertError(f"{origin}: was not exported by this program; give --{name}")
    contract = Contract.from_dict(found["contract"], origin) if "contract" in found else defaults.contract
    assert contract is not None
    cameras = tuple(name for name in contract.cameras if name in images)
    absent = [name for name, camera in contract.cameras.items() if camera.required and name not in cameras]
    if absent:
        raise ConvertError(f"{origin}: no images of camera '{absent[0]}'; it has {', '.join(images) or 'none'}")
    language = found.get("language", defaults.language)
    metadata = EpisodeMetadata(
        language,
        found.get("task", slug(language)),
        found.get("category", defaults.category),
        found.get("source", "teleop"),
        found.get("environment", {}),
        tuple(found.get("language_alternatives", ())),
    )
    header = EpisodeHeader(
        found.get("episode_id", ""),
        metadata,
        contract,
        cameras,
        defaults.encoding or found.get("image_encoding", schema.JPEG),
        defaults.jpeg_quality or found.get("jpeg_quality") or 95,
        found.get("created_at", made_at),
    )
    ending = Ending(found.get("outcome", "unlabelled"), found.get("dropped_ticks", 0), optional_attributes(found))
    return Labels(header, ending, found.get("split", ""), found.get("source_encodings", {}))


def slug(language: str) -> str:
    """Return a task name for an instruction: its words in lower case, joined by underscores; never empty."""
    return re.sub(r"\W+", "_", language.lower()).strip("_") or "task"


def optional_attributes(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optional root attributes of an episode file from the object of :func:`describe`."""
    counters = found.get("input_counters")
    values = {
        schema.RECOVERED: found.get("recovered") or None,
        schema.INPUT_COUNTERS: json.dumps(counters, sort_keys=True) if counters else None,
        schema.LOST_YAW_RAD: found.get("lost_yaw_rad"),
    }
    return {name: value for name, value in values.items() if value is not None}


def written_at(path: Path) -> str:
    """Return when a file or folder was last written, UTC, ISO 8601."""
    return utc(path.stat().st_mtime)
