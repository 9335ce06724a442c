"""Provenance of a checkpoint: the episodes that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mobile_vla_policy.checkpoint import CheckpointInfo
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData

_SPLITS, _BEFORE = "splits", "learned_before"
#: Entries for machines, too long for :mod:`~mobile_vla_policy.info`.
LONG = ("settings", _SPLITS, _BEFORE)


def data_facts(data: TrainingData) -> dict[str, Any]:
    """Return name and digest of every episode, by split."""
    return {_SPLITS: {name: {e.path.stem: e.digest for e in episodes} for name, episodes in data.splits.items()}}


def start_facts(start: CheckpointInfo | None) -> dict[str, Any]:
    """Return digests of the episodes that a training's initial checkpoint had learned from."""
    return {_BEFORE: [] if start is None else sorted(_learned(start))}


def learned_from(info: CheckpointInfo, episodes: Sequence[EpisodeData]) -> int:
    """Return how many of ``episodes`` the checkpoint was trained on, by content; 0 if it does not say."""
    learned = _learned(info)
    return sum(episode.digest in learned for episode in episodes)


def _learned(info: CheckpointInfo) -> set[str]:
    train = info.training.get(_SPLITS, {}).get("train", {})
    return {*train.values(), *info.training.get(_BEFORE, [])}
