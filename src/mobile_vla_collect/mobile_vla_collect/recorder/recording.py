"""What a recorder is asked, told and says: its settings, its states, the open episode and the closed one."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from mobile_vla_collect.recorder.writer_thread import WriterSettings
from mobile_vla_data.episode.metadata import EpisodeMetadata


class RefusedError(Exception):
    """A request cannot be met. ``code`` is the name of an error constant of the service asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class State(enum.IntEnum):
    """Values of mobile_vla_msgs/RecorderStatus."""

    INACTIVE = 0
    IDLE = 1
    RECORDING = 2
    SAVING = 3
    ERROR = 4


@dataclass(frozen=True)
class RecorderSettings:
    """What may be chosen about recording."""

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
    """How much of what came before its start an episode begins with [s]."""


@dataclass(frozen=True)
class Closed:
    """A committed episode."""

    episode_id: str
    path: Path
    steps: int
    dropped_ticks: int
    real_rate_hz: float
    findings: tuple[str, ...]
    """What its own check found wrong; empty when all is well."""


@dataclass
class OpenEpisode:
    """The episode being recorded."""

    metadata: EpisodeMetadata
    episode_id: str
    started_s: float
    """On the monotonic clock [s]."""
    steps: int = 0
    first_stamp_ns: int = 0
    last_stamp_ns: int = 0
    ended_by: str = ""
    """Why it ended on its own; empty while it is recorded."""
    told_besides: str = ""
    """Another instruction that the policy got meanwhile, and at which step, for a human; empty when none."""

    @property
    def real_rate_hz(self) -> float:
        """Steps per second between the first and the newest tick [Hz]; 0 before the second step."""
        elapsed_s = (self.last_stamp_ns - self.first_stamp_ns) * 1e-9
        return (self.steps - 1) / elapsed_s if elapsed_s > 0 else 0.0

    def add(self, stamp_ns: int) -> None:
        """Count a step whose tick was at ``stamp_ns``."""
        self.steps += 1
        self.first_stamp_ns = self.first_stamp_ns or stamp_ns
        self.last_stamp_ns = stamp_ns
