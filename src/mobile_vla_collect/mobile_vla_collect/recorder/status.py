"""What the recorder says about itself: RecorderStatus for humans and pages, and its health for /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mobile_vla_collect.recorder.recorder import Recorder
from mobile_vla_collect.recorder.recording import State
from mobile_vla_collect.recorder.task_plan import TaskPlan
from mobile_vla_data.observation import Stream
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.convert import stream_status
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Health


def fill_plan(status: RecorderStatus, plan: TaskPlan | None) -> None:
    """How many episodes there are, and what is next."""
    if plan is None:
        return
    status.episodes_saved = plan.tally.episodes
    if plan.next is not None:
        status.next_task, status.next_language = plan.next.task, plan.next.language


def fill_recorder(status: RecorderStatus, recorder: Recorder, streams: Sequence[Stream], now_ns: int) -> None:
    """What it does, what its inputs bring, and how the open episode is."""
    status.state, status.message = int(recorder.state), recorder.message
    status.disk_free_bytes = recorder.writer.free_bytes
    status.streams = [stream_status(stream, now_ns) for stream in [*streams, recorder.sampler.command]]
    episode = recorder.current
    if episode is not None:
        status.episode_id, status.language = episode.episode_id, episode.metadata.language
        status.task, status.category = episode.metadata.task, episode.metadata.category
        status.steps, status.dropped_ticks = episode.steps, recorder.sampler.dropped_ticks
        status.duration_s, status.real_rate_hz = time.monotonic() - episode.started_s, episode.real_rate_hz
        if not status.message and recorder.sampler.dropped_ticks:
            status.message = f"dropped ticks: {recorder.sampler.last_drop}"
    elif recorder.last is not None:
        status.episode_id = recorder.last.episode_id
    if not status.message and status.state == State.IDLE:
        status.message = "; ".join(recorder.sampler.problems(time.monotonic_ns(), now_ns))


def health_of(recorder: Recorder | None, last_error: str, dataset: Path, now_ns: int) -> Health:
    """Level, one line and values for /diagnostics; ``last_error`` is why the last transition failed."""
    if recorder is None:
        return Health(WARN if last_error else OK, last_error or "not active")
    lateness = sorted(recorder.ticker.lateness_s)
    values = {
        "state": recorder.state.name.lower(),
        "dataset": dataset,
        "free space [MB]": round(recorder.writer.free_bytes / 1e6),
        "tick lateness p99 [ms]": round(1e3 * lateness[int(0.99 * (len(lateness) - 1))], 3) if lateness else "",
        "dropped ticks": recorder.sampler.dropped_ticks,
        "last dropped tick": recorder.sampler.last_drop,
    }
    if recorder.state is State.ERROR:
        return Health(ERROR, recorder.message, values)
    problems = recorder.sampler.problems(time.monotonic_ns(), now_ns)
    if problems or recorder.message:
        return Health(WARN, "; ".join(problems) or recorder.message, values)
    return Health(OK, "recording" if recorder.state is State.RECORDING else "ready", values)
