"""Features of a frozen backbone, computed once for each view of a frame and kept on disk, for training the head alone.

One safetensors file an episode, ``FEATURES/<backbone>/<episode>-<key>.safetensors`` with ``features`` ``[T, hidden]``.
``<backbone>`` is a fingerprint of the backbone's weights, cameras and precision; ``<key>`` one of the episode file's
bytes, the instruction, the cameras and the contract. If any of these changes, features are computed again; trainings
that share a backbone share its features. A file appears under its name complete or not at all; after a kill the next
training continues.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mobile_vla_data.contract import Contract
from mobile_vla_data.storage.durable import file_digest
from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.episodes import EpisodeData
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.training.views import ImageChange
from mobile_vla_policy.weights import fingerprint

FEATURES = ".features"
Autocast = Callable[[], AbstractContextManager[object]]
"""Returns the context of mixed precision for the backbone."""
_FORMAT = "1"
_FRAMES_AT_ONCE = 16
_LEFT_BEHIND_S = 3600.0


class FeatureError(OSError):
    """Features cannot be stored. The message is one line naming the folder."""


class FeatureStore:
    """Features of one backbone for one robot's frames, stored as ``dtype``."""

    def __init__(
        self, folder: Path, backbone: Backbone, cameras: Sequence[str], contract: Contract, dtype: torch.dtype
    ) -> None:
        self._backbone = backbone
        self._cameras = list(cameras)
        self._contract = _digest(contract.to_json().encode())
        self._dtype = dtype
        # Of each file once, however many views of it there are.
        self._file_digest = functools.cache(file_digest)
        self._of_backbone = fingerprint(
            [*backbone.named_parameters(), *backbone.named_buffers()],
            f"{_FORMAT} {self._cameras} {backbone.image_size} {dtype}",
        )
        self.folder = folder / self._of_backbone[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
        except OSError as error:
            raise FeatureError(
                f"{folder}: features cannot be stored here ({error}); set feature_cache=FOLDER"
            ) from None

    def compute(
        self,
        episodes: Sequence[EpisodeData],
        autocast: Autocast,
        on_episode: Callable[[bool], None],
        changes: Sequence[ImageChange] | None = None,
    ) -> list[torch.Tensor]:
        """Return the features of each episode, ``[T, hidden]`` in ``dtype`` on the CPU, from disk if possible.

        With ``changes``, of each episode's images under its change. Missing ones are computed in an order that differs
        between processes, so that several processes, and several trainings, share the work. ``on_episode`` is called
        for each episode with whether it was computed.

        Raises:
            FeatureError: features cannot be written.
            EpisodeError: an episode cannot be read.
        """
        found: dict[int, torch.Tensor] = {}
        change_of: Sequence[ImageChange | None] = changes or [None] * len(episodes)
        keys = [self._key(episode, change) for episode, change in zip(episodes, change_of, strict=True)]
        order = list(range(len(episodes)))
        random.Random(os.getpid()).shuffle(order)
        for index in order:
            episode, key = episodes[index], keys[index]
            features = self._load(episode, key)
            found[index] = self._compute(episode, key, autocast, change_of[index]) if features is None else features
            on_episode(features is None)
        return [found[index] for index in range(len(episodes))]

    def path(self, episode: EpisodeData) -> Path:
        """Return the file of an episode's features."""
        return self._path(episode, self._key(episode))

    def _path(self, episode: EpisodeData, key: dict[str, str]) -> Path:
        return self.folder / f"{episode.path.stem}-{_digest(json.dumps(key).encode())[:16]}.safetensors"

    def _key(self, episode: EpisodeData, change: ImageChange | None = None) -> dict[str, str]:
        changed = {} if change is None else {"change": change.key}
        return changed | {
            "format": _FORMAT,
            "backbone": self._of_backbone,
            "contract": self._contract,
            "cameras": " ".join(self._cameras),
            "episode": self._file_digest(episode.path),
            "instruction": episode.instruction,
            "tokens": str(self._backbone.tokenise([episode.instruction]).ids.tolist()),
        }

    def _load(self, episode: EpisodeData, key: dict[str, str]) -> torch.Tensor | None:
        """Return the features on disk; None if they are missing, damaged, or do not match the key."""
        try:
            with safe_open(self._path(episode, key), framework="pt") as file:
                features: torch.Tensor = file.get_tensor("features")
                whole = file.metadata() == key and features.dtype == self._dtype
        except (SafetensorError, OSError):
            return None
        return features if whole and features.shape == (episode.num_steps, self._backbone.hidden_size) else None

    @torch.no_grad()
    def _compute(
        self, episode: EpisodeData, key: dict[str, str], autocast: Autocast, change: ImageChange | None
    ) -> torch.Tensor:
        device = next(self._backbone.parameters()).device
        frames = torch.from_numpy(
            decode_frames(episode, range(episode.num_steps), self._cameras, self._backbone.image_size)
        )
        one = self._backbone.tokenise([episode.instruction]).to(device)
        parts = []
        for some in frames.split(_FRAMES_AT_ONCE):
            tokens = one.select(torch.zeros(len(some), dtype=torch.int64, device=device))
            with autocast():
                images = to_float(some.to(device))
                images = images if change is None else change(images)
                parts.append(self._backbone.encode(images, tokens).to(self._dtype).cpu())
        features = torch.cat(parts)
        path = self._path(episode, key)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            save_file({"features": features}, part, metadata=key)
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise FeatureError(
                f"{path}: cannot be written ({' '.join(str(error).split())}); free space or set feature_cache=FOLDER"
            ) from None
        return features


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove files of a killed training; a running one finishes an episode long before."""
    for part in folder.glob(".*.part"):
        if time.time() - part.stat().st_mtime > _LEFT_BEHIND_S:
            part.unlink(missing_ok=True)
