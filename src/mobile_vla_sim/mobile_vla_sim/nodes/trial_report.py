"""Results of the trials of a live policy, as JSON and as an animation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from mobile_vla_data.image import Image
from mobile_vla_data.storage.durable import make_atomically, write_text_atomically


@dataclass(frozen=True)
class LiveTrial:
    """One scene driven by the launched policy."""

    seed: int
    task: str
    instruction: str
    success: bool
    duration_s: float
    """Simulated time from the reset to success, or to the end [s]."""
    final_distance_m: float
    """Straight line to the goal at the end [m]."""
    message: str
    """Result of the policy/execute goal."""
    path: list[tuple[float, float]]
    """Positions at 10 Hz [m]."""


@dataclass
class CommandClock:
    """Arrival times of cmd_vel while trials run."""

    intervals_s: list[float] = field(default_factory=list)
    _last_s: float | None = None

    def begin(self) -> None:
        """Start of a trial: the pause before it is no interval."""
        self._last_s = None

    def arrived(self, now_s: float) -> None:
        """Take one arrival on a monotonic clock [s]."""
        if self._last_s is not None:
            self.intervals_s.append(now_s - self._last_s)
        self._last_s = now_s

    def as_dict(self) -> dict[str, float | int]:
        """Mean rate and 99th percentile of the interval; zeros when nothing arrived."""
        if not self.intervals_s:
            return {"rate_hz": 0.0, "interval_p99_s": 0.0, "messages": 0}
        intervals = np.array(self.intervals_s)
        return {
            "rate_hz": round(1.0 / float(intervals.mean()), 3),
            "interval_p99_s": round(float(np.percentile(intervals, 99)), 5),
            "messages": len(intervals) + 1,
        }


@dataclass
class LatencyLog:
    """Latency of the policy's stages as policy/status reported it while it was running."""

    p50_s: dict[str, list[float]] = field(default_factory=dict)
    p99_s: dict[str, list[float]] = field(default_factory=dict)

    def take(self, stage: str, p50_s: float, p99_s: float) -> None:
        """Take one report of one stage."""
        self.p50_s.setdefault(stage, []).append(p50_s)
        self.p99_s.setdefault(stage, []).append(p99_s)

    def as_dict(self) -> dict[str, Any]:
        """Median of the reported medians and largest reported 99th percentile, in all and per stage."""
        stages = {
            stage: {"p50": round(float(np.median(medians)), 5), "p99": round(max(self.p99_s[stage]), 5)}
            for stage, medians in self.p50_s.items()
        }
        total = stages.get("total", {"p50": 0.0, "p99": 0.0})
        return {**total, "stages": stages}


def write_json(path: Path, document: Any) -> None:
    """Write a document whole or not at all. Raises OSError."""
    write_text_atomically(path, json.dumps(document, indent=2) + "\n")


def trials_document(trials: list[LiveTrial], **measured: Any) -> dict[str, Any]:
    """The JSON that a run of trials leaves."""
    successes = sum(trial.success for trial in trials)
    return {
        "successes": successes,
        "count": len(trials),
        "success_rate": round(successes / len(trials), 4) if trials else 0.0,
        **measured,
        "trials": [asdict(trial) for trial in trials],
    }


def write_animation(path: Path, frames: list[Image], period_s: float) -> None:
    """Write RGB uint8 ``[h, w, 3]`` frames as GIF or WebP, by the name's suffix; the last one stays for a second.

    Raises:
        OSError: the file cannot be written; names ``path``.
    """
    pictures = [Picture.fromarray(frame) for frame in frames]
    durations = [round(1000 * period_s)] * (len(pictures) - 1) + [1000]
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0}
    make_atomically(path, lambda part: pictures[0].save(part, **options))
