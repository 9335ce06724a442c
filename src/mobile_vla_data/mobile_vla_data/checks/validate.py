"""Validation: one episode (:func:`check_episode`, also run by the recorder at stop) and a whole dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.checks.against_plan import check_plan
from mobile_vla_data.checks.findings import Finding, has_errors
from mobile_vla_data.checks.images import check_images
from mobile_vla_data.checks.signals import Signals, check_signals
from mobile_vla_data.checks.structure import check_structure
from mobile_vla_data.checks.whole import EpisodeSummary, check_dataset
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import fingerprint
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.reader import Episode, EpisodeError, EpisodeUnavailableError
from mobile_vla_data.parallel import Spread
from mobile_vla_data.storage.access import Obstacle, probe

__all__ = ["Finding", "ValidationReport", "check_episode", "has_errors", "validate_dataset"]

#: Below this many episodes, starting processes costs more than they save.
_FEW = 32


@dataclass(frozen=True)
class ValidationReport:
    """Result of :func:`validate_dataset`."""

    dataset: str
    num_episodes: int
    num_steps: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if there is no error; warnings are allowed."""
        return not has_errors(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "dataset": self.dataset,
            "ok": self.ok,
            "episodes": self.num_episodes,
            "steps": self.num_steps,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check_episode(path: str | Path, *, images: bool = True) -> list[Finding]:
    """Every finding about one episode file, most basic first; empty when it is fit for training.

    Without ``images`` no image is decoded: for the recorder, which has watched the cameras itself and must be ready for
    the next episode at once.
    """
    return _examine(Path(path), images)[0]


def validate_dataset(
    path: str | Path,
    *,
    processes: int | None = None,
    ray: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ValidationReport:
    """Check every episode of a dataset folder and the folder itself.

    Args:
        path: the dataset folder.
        processes: how many to use; None takes one per core.
        ray: see :class:`~mobile_vla_data.parallel.Spread`.
        progress: called with episodes done and episodes in all.

    Raises:
        DatasetError: there is no such folder.
    """
    dataset = Dataset.open(path)
    paths = dataset.episode_paths
    findings: list[Finding] = []
    summaries: list[EpisodeSummary] = []
    spread = Spread((processes or os.cpu_count() or 1) if len(paths) >= _FEW else 1, ray)
    for done, (found, summary) in enumerate(spread.run(_nothing, _examine_job, paths), start=1):
        findings += found
        if summary is not None:
            summaries.append(summary)
        if progress is not None:
            progress(done, len(paths))
    findings += check_dataset(dataset, summaries)
    findings += check_plan(dataset, summaries)
    return ValidationReport(str(dataset.path), len(paths), sum(item.num_steps for item in summaries), findings)


_Examined = tuple[list[Finding], "EpisodeSummary | None"]


def _examine_job(_: None, path: Path) -> _Examined:
    return _examine(path)


def _nothing() -> None:
    """Examining needs nothing that is prepared."""


def _examine(path: Path, images: bool = True) -> _Examined:
    try:
        with Episode.open(path) as episode:
            broken = check_structure(episode)
            if not broken:
                signals = Signals.of(episode)
                if not images:
                    return check_signals(signals), None
                return [*check_signals(signals), *check_images(episode, signals)], _summarise(episode)
    except EpisodeUnavailableError as error:
        return [_inaccessible(path, error.obstacle)], None
    except EpisodeError as error:
        broken = [_unreadable(path, str(error).removeprefix(f"{path}: "))]
    except DAMAGE as error:
        broken = [_unreadable(path, f"damaged: {' '.join(str(error).split()):.160}")]
    # What looks like damage may be a disk that does not answer, or another process that is writing.
    obstacle = probe(path)
    return ([_inaccessible(path, obstacle)] if obstacle else broken), None


def _inaccessible(path: Path, obstacle: Obstacle) -> Finding:
    return Finding("inaccessible", "error", str(path), f"cannot be read now: {obstacle.reason}", obstacle.advice)


def _unreadable(path: Path, message: str) -> Finding:
    advice = "restore it from a copy, or set it aside with 'mobile-vla-data delete', which keeps it in the trash folder"
    return Finding("unreadable", "error", str(path), message, advice)


def _summarise(episode: Episode) -> EpisodeSummary:
    metadata = episode.metadata
    encodings = {camera: text for camera in episode.cameras if (text := episode.source_encoding(camera))}
    return EpisodeSummary(
        file=str(episode.path),
        episode_id=episode.path.stem,
        language=metadata.language,
        task=metadata.task,
        category=metadata.category,
        outcome=episode.outcome,
        environment=dict(metadata.environment),
        contract_json=episode.contract.to_json(),
        fingerprint=fingerprint(episode),
        num_steps=episode.num_steps,
        real_rate_hz=episode.real_rate_hz,
        source_encodings=encodings,
        colours={camera: _colour(episode, camera) for camera in encodings},
    )


def _colour(episode: Episode, camera: str) -> tuple[float, float, float]:
    """Mean red, green and blue of a few images."""
    steps = sorted({0, episode.num_steps // 2, episode.num_steps - 1})
    red, green, blue = np.mean([episode.image(camera, step)[::8, ::8].mean((0, 1)) for step in steps], axis=0)
    return float(red), float(green), float(blue)
