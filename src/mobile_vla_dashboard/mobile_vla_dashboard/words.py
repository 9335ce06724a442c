"""Status messages to what the page shows: plain words, a tone, and the numbers beside them. No rclpy, no web framework.

Everything said here comes from a topic. A status that was never heard, or not for :data:`SILENT_S`, is said to be
exactly that; its last content is never shown as if it still held.
"""

from __future__ import annotations

import math
import time
from typing import Any

from mobile_vla_dashboard.hub import Heard, Hub
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus

#: Every status comes at 2 Hz; six missed ones in a row are silence [s].
SILENT_S = 3.0

#: A camera silent for this long is said to be [s].
CAMERA_SILENT_S = 1.0

Card = dict[str, Any]

_GATE = {
    GateStatus.DRIVER_NONE: ("idle", "Nobody drives"),
    GateStatus.DRIVER_TELEOP: ("active", "A person drives"),
    GateStatus.DRIVER_POLICY: ("active", "The policy drives"),
    GateStatus.DRIVER_STOPPED: ("bad", "Stopped"),
}
_POLICY = {
    PolicyStatus.STATE_UNCONFIGURED: ("idle", "Not loaded"),
    PolicyStatus.STATE_LOADING: ("warn", "Loading the checkpoint"),
    PolicyStatus.STATE_INACTIVE: ("idle", "Loaded, not active"),
    PolicyStatus.STATE_WAITING: ("idle", "Waiting"),
    PolicyStatus.STATE_RUNNING: ("active", "Following the instruction"),
    PolicyStatus.STATE_ERROR: ("bad", "Failed"),
}
_RECORDER = {
    RecorderStatus.STATE_INACTIVE: ("idle", "Not active"),
    RecorderStatus.STATE_IDLE: ("ok", "Ready to record"),
    RecorderStatus.STATE_RECORDING: ("active", "Recording"),
    RecorderStatus.STATE_SAVING: ("warn", "Saving the episode"),
    RecorderStatus.STATE_ERROR: ("bad", "Failed"),
}


def number(value: float, digits: int = 2) -> float | None:
    """``value`` rounded, or None where JSON has no word for it (NaN, infinity)."""
    return round(float(value), digits) if math.isfinite(value) else None


def page_state(hub: Hub, contract: Contract) -> Card:
    """Everything the page shows besides pictures, ready for JSON."""
    now_s = time.monotonic()
    return {
        "robot": contract.robot,
        "base": contract.base,
        "cameras": [camera_card(hub, index, topic) for index, topic in enumerate(hub.cameras.values())],
        "gate": gate_card(hub.heard("gate"), now_s),
        "policy": policy_card(hub.heard("policy"), now_s),
        "recorder": recorder_card(hub.heard("recorder"), now_s),
        "progress": progress_card(hub.heard("progress")),
    }


def camera_card(hub: Hub, index: int, topic: str) -> Card:
    """One camera: whether pictures come, how many a second, and if not, on which topic they are missing."""
    silent_s, rate_hz, refusal = hub.camera_rate(index)
    if refusal:
        tone, words = "bad", f"pictures on {topic} cannot be shown: {refusal}"
    elif silent_s is None:
        tone, words = "bad", f"no picture has come on {topic}"
    elif silent_s > CAMERA_SILENT_S:
        tone, words = "bad", f"{topic} has been silent for {silent_s:.0f} s"
    else:
        tone, words = "ok", ""
    return {"name": list(hub.cameras)[index], "tone": tone, "words": words, "rate_hz": number(rate_hz, 1)}


def _absent(heard: Heard | None, now_s: float, who: str, hint: str) -> Card | None:
    """The card of a node that is not there, None if it is."""
    if heard is None:
        return {"present": False, "tone": "off", "headline": f"No {who} running", "detail": hint}
    silent_s = now_s - heard.received_s
    if silent_s > SILENT_S:
        detail = f"Nothing heard from it for {silent_s:.0f} s. {hint}"
        return {"present": False, "tone": "bad", "headline": f"The {who} went silent", "detail": detail}
    return None


def gate_card(heard: Heard | None, now_s: float) -> Card:
    """Who drives, and why."""
    hint = "Without the command gate nothing here can move or stop the robot: use its own emergency stop."
    card = _absent(heard, now_s, "command gate", hint)
    if card or heard is None:
        return {"stopped": False, **(card or {})}
    status: GateStatus = heard.message
    tone, headline = _GATE.get(status.driver, ("bad", f"Unknown driver {status.driver}"))
    return {
        "present": True,
        "tone": tone,
        "headline": headline,
        "detail": status.reason,
        "stopped": bool(status.stopped),
        "velocity": [number(status.output.linear.x), number(status.output.linear.y), number(status.output.angular.z)],
        "gripper": number(status.gripper),
        "clamped": status.clamped,
        "refused": status.refused,
        "timeouts": status.timeouts,
    }


def policy_card(heard: Heard | None, now_s: float) -> Card:
    """What the policy follows, how fast, and what keeps it from it."""
    card = _absent(heard, now_s, "policy", "inference.launch.py starts one.")
    if card or heard is None:
        return card or {}
    status: PolicyStatus = heard.message
    tone, headline = _POLICY.get(status.state, ("bad", f"Unknown state {status.state}"))
    if status.state == PolicyStatus.STATE_WAITING and not status.instruction:
        headline = "Waiting for an instruction"
    if status.shadow and status.state == PolicyStatus.STATE_RUNNING:
        headline = "Following in its head only (shadow mode)"
    total = next((stage for stage in status.latency if stage.stage == "total"), None)
    return {
        "present": True,
        "tone": tone,
        "headline": headline,
        "detail": status.message,
        "ready": status.state in (PolicyStatus.STATE_WAITING, PolicyStatus.STATE_RUNNING),
        "instruction": status.instruction,
        "checkpoint": status.checkpoint,
        "inference_rate_hz": number(status.inference_rate_hz, 1),
        "command_rate_hz": number(status.command_rate_hz, 1),
        "latency_p50_s": number(total.p50_s, 4) if total else None,
        "latency_p99_s": number(total.p99_s, 4) if total else None,
        "starved_ticks": status.starved_ticks,
        "memory_bytes": status.memory_bytes,
        "temperature_c": number(status.temperature_c, 0),
    }


def recorder_card(heard: Heard | None, now_s: float) -> Card:
    """What is being recorded, and what the plan proposes next."""
    card = _absent(heard, now_s, "recorder", "collect.launch.py starts one, and inference.launch.py with dataset:=DIR.")
    if card or heard is None:
        return card or {}
    status: RecorderStatus = heard.message
    tone, headline = _RECORDER.get(status.state, ("bad", f"Unknown state {status.state}"))
    recording = status.state == RecorderStatus.STATE_RECORDING
    missing = [
        f"{stream.topic}: {stream.last_refusal or ('nothing has arrived' if stream.age_s < 0 else 'silent')}"
        for stream in status.streams
        if stream.required and (stream.age_s < 0 or stream.age_s > CAMERA_SILENT_S)
    ]
    return {
        "present": True,
        "tone": "warn" if missing and tone == "ok" else tone,
        "headline": headline,
        "detail": status.message or "; ".join(missing),
        "ready": status.state == RecorderStatus.STATE_IDLE,
        "recording": recording,
        "dataset": status.dataset,
        "episode_id": status.episode_id,
        "language": status.language,
        "task": status.task,
        "category": status.category,
        "steps": status.steps,
        "dropped_ticks": status.dropped_ticks,
        "duration_s": number(status.duration_s, 1),
        "declared_rate_hz": number(status.declared_rate_hz, 1),
        "real_rate_hz": number(status.real_rate_hz, 1),
        "episodes_saved": status.episodes_saved,
        "disk_free_bytes": status.disk_free_bytes,
        "next_task": status.next_task,
        "next_language": status.next_language,
    }


def progress_card(heard: Heard | None) -> Card:
    """How many episodes of each task there are, of how many wanted."""
    if heard is None or not heard.message.success:
        return {"tasks": []}
    return {
        "tasks": [
            {
                "category": task.category,
                "task": task.task,
                "wanted": task.wanted,
                "done": task.done,
                "failed": task.failed,
            }
            for task in heard.message.tasks
        ]
    }
