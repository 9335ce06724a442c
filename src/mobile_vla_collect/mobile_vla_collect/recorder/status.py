"""The recorder's status: RecorderStatus for humans and pages, and its health for /diagnostics."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from mobile_vla_collect.recorder.recorder import Recorder
from mobile_vla_collect.recorder.recording import OpenEpisode, Phase
from mobile_vla_collect.recorder.task_plan import TaskPlan
from mobile_vla_data.observation import Stream
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.convert import stream_status
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Health

_STATE = {
    Phase.NONE: RecorderStatus.STATE_IDLE,
    Phase.OPENING: RecorderStatus.STATE_SAVING,
    Phase.RECORDING: RecorderStatus.STATE_RECORDING,
    Phase.ENDED: RecorderStatus.STATE_ERROR,
    Phase.SAVING: RecorderStatus.STATE_SAVING,
    Phase.DISCARDING: RecorderStatus.STATE_SAVING,
}
#: Below this no warning is shown: a base that follows a curve loses a little in every step [rad].
_LITTLE_YAW_RAD = 0.1


def fill_plan(status: RecorderStatus, plan: TaskPlan | None) -> None:
    """Fill in the number of episodes and the next proposal."""
    if plan is None:
        return
    status.episodes_saved = plan.tally.episodes
    if plan.next is not None:
        status.next_task, status.next_language = plan.next.task, plan.next.language


def fill_recorder(status: RecorderStatus, recorder: Recorder, streams: Sequence[Stream], now_ns: int) -> None:
    """Fill in the state, the inputs and the open episode."""
    status.state = _STATE[recorder.phase]
    status.message = recorder.message
    status.disk_free_bytes = recorder.writer.free_bytes
    status.streams = [stream_status(stream, now_ns) for stream in [*streams, recorder.commands.stream]]
    episode = recorder.current
    if episode is not None:
        status.episode_id, status.language = episode.episode_id, episode.metadata.language
        status.task, status.category = episode.metadata.task, episode.metadata.category
        status.steps, status.dropped_ticks = episode.steps, episode.ticks.dropped
        status.lost_yaw_rad = episode.lost_yaw_rad
        status.duration_s, status.real_rate_hz = time.monotonic() - episode.started_s, episode.real_rate_hz
        status.message = status.message or _remark(episode)
    elif recorder.last is not None:
        status.episode_id = recorder.last.episode_id
    if not status.message and recorder.phase is Phase.NONE:
        status.message = "; ".join(recorder.sampler.problems(recorder.mono_ns(), now_ns))


def _remark(episode: OpenEpisode) -> str:
    """Return what an operator should know during the episode; empty when all is well."""
    remarks = [f"dropped ticks: {episode.ticks.last_drop}"] if episode.ticks.dropped else []
    if episode.lost_yaw_rad > _LITTLE_YAW_RAD:
        turn = f"{math.degrees(episode.lost_yaw_rad):.0f} degrees of turning are in no action"
        remarks.append(f"{turn}; set 'action.yaw: true' in the contract, or do not turn on the spot")
    return "; ".join(remarks)


def health_of(recorder: Recorder | None, last_error: str, dataset: Path, now_ns: int) -> Health:
    """Return the health for /diagnostics; ``last_error`` says why the last transition failed."""
    if recorder is None:
        return Health(WARN if last_error else OK, last_error or "not active")
    lateness = sorted(recorder.ticker.lateness_s)
    episode = recorder.current
    values = {
        "state": recorder.phase.name.lower(),
        "dataset": dataset,
        "free space [MB]": round(recorder.writer.free_bytes / 1e6),
        "tick lateness p99 [ms]": round(1e3 * lateness[int(0.99 * (len(lateness) - 1))], 3) if lateness else "",
        "dropped ticks": episode.ticks.dropped if episode is not None else 0,
        "last dropped tick": episode.ticks.last_drop if episode is not None else "",
    }
    if recorder.phase is Phase.ENDED:
        return Health(ERROR, recorder.message, values)
    problems = recorder.sampler.problems(recorder.mono_ns(), now_ns)
    if problems or recorder.message:
        return Health(WARN, "; ".join(problems) or recorder.message, values)
    return Health(OK, "recording" if recorder.phase is Phase.RECORDING else "ready", values)
