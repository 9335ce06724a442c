"""Summaries of an episode or a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.reader import Episode, EpisodeError


def episode_info(path: str | Path) -> dict[str, Any]:
    """Describe one episode. Raises :class:`EpisodeError`."""
    with Episode.open(path) as episode:
        metadata, target = episode.metadata, episode.target
        encodings = {
            camera: f"{episode.encoding(camera)} {episode.jpeg_quality(camera) or ''}".strip()
            for camera in episode.cameras
        }
        return {
            "file": str(path),
            "episode_id": episode.episode_id,
            "language": metadata.language,
            "language_alternatives": list(metadata.language_alternatives),
            "task": metadata.task,
            "category": metadata.category,
            "outcome": episode.outcome,
            "source": metadata.source,
            "environment": dict(metadata.environment),
            "steps": episode.num_steps,
            "dropped_ticks": episode.dropped_ticks,
            "lost_yaw_rad": episode.lost_yaw_rad,
            "declared_rate_hz": episode.contract.control_rate_hz,
            "real_rate_hz": round(episode.real_rate_hz, 3),
            "cameras": encodings,
            "source_encodings": {camera: episode.source_encoding(camera) for camera in episode.cameras},
            "target_steps": 0 if target is None else int((target != schema.UNKNOWN_TARGET).any(axis=1).sum()),
            "takeover_steps": int(episode.takeover.sum()),
            "robot": episode.contract.robot,
            "created_at": episode.created_at,
            "recovered": episode.recovered,
            "bytes": Path(path).stat().st_size,
        }


def dataset_info(path: str | Path) -> dict[str, Any]:
    """Describe a dataset folder; files that cannot be read are listed, not raised. Raises :class:`DatasetError`."""
    dataset = Dataset.open(path)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("category", "task", "outcome", "source")}
    phrases: set[str] = set()
    problems: list[str] = []
    steps = size = 0
    for episode_path in dataset.episode_paths:
        try:
            info = episode_info(episode_path)
        except EpisodeError as error:
            problems.append(str(error))
            continue
        for name, counter in counts.items():
            counter[info[name]] += 1
        phrases.add(info["language"])
        steps += info["steps"]
        size += info["bytes"]
    splits = dataset.splits()
    return {
        "dataset": str(dataset.path),
        "episodes": len(dataset.episode_paths),
        "unreadable": len(problems),
        "problems": problems,
        "unfinished": len({schema.number_in_name(item.name) for item in dataset.unfinished_paths}),
        "steps": steps,
        "instructions": len(phrases),
        "bytes": size,
        **{name: dict(sorted(counter.items())) for name, counter in counts.items()},
        "splits": {name: len(ids) for name, ids in splits.items()} if splits is not None else None,
    }
