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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mobile_vla_data.contract import Contract
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_data.storage.durable import file_digest
from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.episodes import EpisodeData
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.training.views import ImageChange
from mobile_vla_policy.weights import fingerprint

FEATURES = ".features"
_FORMAT = "1"
_FRAMES_AT_ONCE = 16
_LEFT_BEHIND_S = 3600.0


class FeatureError(OSError):
    """Features cannot be stored. The message is one line naming the folder."""


class FeatureStore:
    """Features of one backbone for one robot's frames, stored and, below float32, computed in ``dtype``."""

    def __init__(
        self, folder: Path, backbone: Backbone, cameras: Sequence[str], contract: Contract, dtype: torch.dtype
    ) -> None:
        self._encoder = _Encoder(backbone, list(cameras), dtype)
        self._contract = _digest(contract.to_json().encode())
        # Of each file once, however many views of it there are.
        self._file_digest = functools.cache(file_digest)
        self._of_backbone = fingerprint(
            [*backbone.named_parameters(), *backbone.named_buffers()],
            f"{_FORMAT} {self._encoder.cameras} {backbone.image_size} {dtype}",
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
        views: Sequence[tuple[EpisodeData, ImageChange | None]],
        on_episode: Callable[[bool], None],
        spread: Spread = HERE,
    ) -> list[torch.Tensor]:
        """Return the features of each episode, ``[T, hidden]`` in ``dtype`` on the CPU, from disk if possible.

        Args:
            views: episodes, each with the change of its images, if any. Missing features are computed in an order that
                differs between processes, so that several processes, and several trainings, share the work.
            on_episode: called for each episode with whether it was computed.
            spread: where the backbone runs. It must be on the CPU here if that is in other processes.

        Raises:
            FeatureError: features cannot be written.
            EpisodeError: an episode cannot be read.
        """
        wanted = [self._wanted(*view) for view in views]
        order = list(range(len(wanted)))
        random.Random(os.getpid()).shuffle(order)
        found: dict[int, torch.Tensor] = {}
        for index in order:
            if (features := self._encoder.load(wanted[index])) is not None:
                found[index] = features
                on_episode(False)
        left = [index for index in order if index not in found]
        prepare = partial(_Encoder.moved, self._encoder) if spread.many else lambda: self._encoder
        results = spread.run(prepare, _Encoder.provide, [wanted[index] for index in left])
        for index, (features, computed) in zip(left, results, strict=True):
            found[index] = features
            on_episode(computed)
        return [found[index] for index in range(len(wanted))]

    def _wanted(self, episode: EpisodeData, change: ImageChange | None) -> _Wanted:
        changed = {} if change is None else {"change": change.key}
        key = changed | {
            "format": _FORMAT,
            "backbone": self._of_backbone,
            "contract": self._contract,
            "cameras": " ".join(self._encoder.cameras),
            "episode": self._file_digest(episode.path),
            "instruction": episode.instruction,
            "tokens": str(self._encoder.backbone.tokenise([episode.instruction]).ids.tolist()),
        }
        name = f"{episode.path.stem}-{_digest(json.dumps(key).encode())[:16]}.safetensors"
        return _Wanted(self.folder / name, key, episode, change)


@dataclass(frozen=True)
class _Wanted:
    """The features of one view of an episode."""

    path: Path
    key: dict[str, str]
    episode: EpisodeData
    change: ImageChange | None


@dataclass(frozen=True)
class _Encoder:
    """A backbone, and how it is run; the same in every process."""

    backbone: Backbone
    cameras: list[str]
    dtype: torch.dtype

    def moved(self) -> _Encoder:
        """Move the backbone to the GPU of this process, if it has one."""
        self.backbone.to("cuda" if torch.cuda.is_available() else "cpu")
        return self

    def provide(self, wanted: _Wanted) -> tuple[torch.Tensor, bool]:
        """Return the features, and whether they were computed now: another training may have been faster."""
        features = self.load(wanted)
        return (self._compute(wanted), True) if features is None else (features, False)

    def load(self, wanted: _Wanted) -> torch.Tensor | None:
        """Return the features on disk; None if they are missing, damaged, or do not match the key."""
        try:
            with safe_open(wanted.path, framework="pt") as file:
                features: torch.Tensor = file.get_tensor("features")
                whole = file.metadata() == wanted.key and features.dtype == self.dtype
        except (SafetensorError, OSError):
            return None
        shape = (wanted.episode.num_steps, self.backbone.hidden_size)
        return features if whole and features.shape == shape else None

    @torch.no_grad()
    def _compute(self, wanted: _Wanted) -> torch.Tensor:
        episode, change = wanted.episode, wanted.change
        device = next(self.backbone.parameters()).device
        frames = torch.from_numpy(
            decode_frames(episode, range(episode.num_steps), self.cameras, self.backbone.image_size)
        )
        one = self.backbone.tokenise([episode.instruction]).to(device)
        parts = []
        for some in frames.split(_FRAMES_AT_ONCE):
            tokens = one.select(torch.zeros(len(some), dtype=torch.int64, device=device))
            with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
                images = to_float(some.to(device))
                images = images if change is None else change(images)
                parts.append(self.backbone.encode(images, tokens).to(self.dtype).cpu())
        features = torch.cat(parts)
        part = wanted.path.with_name(f".{wanted.path.name}.{os.getpid()}.part")
        try:
            save_file({"features": features}, part, metadata=wanted.key)
            os.replace(part, wanted.path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise FeatureError(
                f"{wanted.path}: cannot be written ({' '.join(str(error).split())}); free space or set "
                "feature_cache=FOLDER"
            ) from None
        return features


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove files of a killed training; a running one finishes an episode long before."""
    for part in folder.glob(".*.part"):
        if time.time() - part.stat().st_mtime > _LEFT_BEHIND_S:
            part.unlink(missing_ok=True)
