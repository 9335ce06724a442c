"""Data of the recorder: its settings, its states, the episode being recorded and the one that was saved."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from mobile_vla_collect.recorder.writer_thread import WriterSettings
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.sampling.sampler import EpisodeTicks, SampledStep


class RefusedError(Exception):
    """A request cannot be met. ``code`` is the name of an error constant of the service."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Phase(enum.Enum):
    """Phase of the current episode."""

    NONE = "no episode is open; call recorder/start_episode first"
    OPENING = "an episode is being opened"
    RECORDING = "an episode is being recorded"
    ENDED = "the episode ended by itself and waits to be stopped or discarded"
    SAVING = "an episode is being saved"
    DISCARDING = "an episode is being discarded"

    @property
    def waits_for_disk(self) -> bool:
        """True while the disk has to finish before anything else can be done with an episode."""
        return self in (Phase.OPENING, Phase.SAVING, Phase.DISCARDING)


@dataclass(frozen=True)
class RecorderSettings:
    """Settings of recording."""

    writer: WriterSettings
    min_steps: int
    """Shorter episodes are not kept."""
    max_dropped_share: float
    """Above this share of dropped ticks an episode fails its own check at stop (0 .. 1)."""
    command_max_age_s: float
    """A step whose newest command is older than this has no known action and is dropped [s]."""
    min_free_bytes: int
    """Recording does not start, and stops, below this much free space."""
    pre_trigger_s: float = 0.0
    """Time before its start at which an episode begins [s]."""


@dataclass(frozen=True)
class SavedEpisode:
    """A committed episode."""

    episode_id: str
    path: Path
    steps: int
    dropped_ticks: int
    real_rate_hz: float
    findings: tuple[str, ...]
    """Errors that its own check found; empty when all is well."""


@dataclass(frozen=True)
class OtherInstruction:
    """An instruction that the policy got while an episode with another one was recorded."""

    instruction: str
    step: int
    """First step that may follow it."""


@dataclass
class OpenEpisode:
    """The episode being recorded."""

    metadata: EpisodeMetadata
    episode_id: str
    started_s: float
    """On the monotonic clock [s]."""
    ticks: EpisodeTicks
    steps: int = 0
    first_stamp_ns: int = 0
    last_stamp_ns: int = 0
    lost_yaw_rad: float = 0.0
    """Commanded turning of all steps that no action carries [rad]."""
    other_instruction: OtherInstruction | None = None

    @property
    def real_rate_hz(self) -> float:
        """Steps per second between the first and the newest tick [Hz]; 0 before the second step."""
        elapsed_s = (self.last_stamp_ns - self.first_stamp_ns) * 1e-9
        return (self.steps - 1) / elapsed_s if elapsed_s > 0 else 0.0

    def count(self, step: SampledStep) -> None:
        """Count a step that the writer took."""
        self.steps += 1
        self.first_stamp_ns = self.first_stamp_ns or step.stamp_ns
        self.last_stamp_ns = step.stamp_ns
        self.lost_yaw_rad += step.lost_yaw_rad

    def findings(self, max_dropped_share: float) -> list[str]:
        """Return what went wrong while it was recorded and is not visible in the file, one line each."""
        findings = self.ticks.watch.blank()
        if (other := self.other_instruction) is not None:
            findings.append(
                f"the policy followed '{other.instruction}' from step {other.step} on, the episode says "
                f"'{self.metadata.language}'; cut it there (mobile-vla-data trim), or delete it"
            )
        share = self.ticks.dropped / (self.ticks.dropped + self.steps)
        if share > max_dropped_share:
            findings.append(
                f"{share:.0%} of the ticks were dropped, max_dropped_share is {max_dropped_share:.0%} "
                f"(the last one: {self.ticks.last_drop})"
            )
        return findings
