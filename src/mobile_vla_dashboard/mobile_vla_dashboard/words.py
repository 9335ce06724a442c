"""Status messages as the page shows them: plain words, a tone, numbers. No rclpy, no web framework.

Everything comes from a topic. If a status has never arrived, or not for :data:`SILENT_S`, the page says so; its last
content is never shown as if it were current.
"""

from __future__ import annotations

import math
import time
from typing import Any

from mobile_vla_dashboard.latest import Latest, ReceivedStatus
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus

#: Every status comes at 2 Hz; after six missing ones the node counts as silent [s].
SILENT_S = 3.0

#: A camera without an image for this long counts as silent [s].
CAMERA_SILENT_S = 1.0

Card = dict[str, Any]

_GATE = {
    GateStatus.DRIVER_NONE: ("idle", "No driver"),
    GateStatus.DRIVER_TELEOP: ("active", "The operator drives"),
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
    """Return ``value`` rounded, or None for NaN and infinity, which JSON does not have."""
    return round(float(value), digits) if math.isfinite(value) else None


def page_state(latest: Latest, contract: Contract) -> Card:
    """Return everything that the page shows besides images, ready for JSON."""
    now_s = time.monotonic()
    return {
        "robot": contract.robot,
        "base": contract.base,
        "cameras": [camera_card(latest, index, name) for index, name in enumerate(latest.cameras)],
        "gate": gate_card(latest.status("gate"), now_s),
        "policy": policy_card(latest.status("policy"), now_s),
        "recorder": recorder_card(latest.status("recorder"), now_s),
        "progress": progress_card(latest.status("progress")),
    }


def camera_card(latest: Latest, index: int, name: str) -> Card:
    """Return the card of one camera: its rate, or why there are no images."""
    topic, received = latest.cameras[name], latest.reception(index)
    if received.refusal:
        tone, words = "bad", f"images on {topic} cannot be shown: {received.refusal}"
    elif received.silent_s is None:
        tone, words = "bad", f"no image has arrived on {topic}"
    elif received.silent_s > CAMERA_SILENT_S:
        tone, words = "bad", f"{topic} has been silent for {received.silent_s:.0f} s"
    else:
        tone, words = "ok", ""
    return {"name": name, "tone": tone, "words": words, "rate_hz": number(received.rate_hz, 1)}


def _absent(received: ReceivedStatus | None, now_s: float, who: str, hint: str) -> Card | None:
    """Return the card of a node that does not run; None if it runs."""
    if received is None:
        return {"present": False, "tone": "off", "headline": f"No {who} running", "detail": hint}
    silent_s = now_s - received.received_s
    if silent_s > SILENT_S:
        detail = f"No message from it for {silent_s:.0f} s. {hint}"
        return {"present": False, "tone": "bad", "headline": f"The {who} went silent", "detail": detail}
    return None


def gate_card(received: ReceivedStatus | None, now_s: float) -> Card:
    """Return the card of the gate: who drives, and why."""
    hint = "Without the command gate this page can neither move nor stop the robot: use its own emergency stop."
    card = _absent(received, now_s, "command gate", hint)
    if card or received is None:
        return {"stopped": False, **(card or {})}
    status: GateStatus = received.message
    tone, headline = _GATE.get(status.driver, ("bad", f"Unknown driver {status.driver}"))
    return {
        "present": True,
        "tone": "bad" if status.fault else tone,
        "headline": headline,
        "detail": "; ".join(part for part in (status.fault, status.reason) if part),
        "stopped": bool(status.stopped),
        "velocity": [number(status.output.linear.x), number(status.output.linear.y), number(status.output.angular.z)],
        "gripper": number(status.gripper),
        "clamped": status.clamped,
        "refused": status.refused,
        "timeouts": status.timeouts,
    }


def policy_card(received: ReceivedStatus | None, now_s: float) -> Card:
    """Return the card of the policy: its instruction, its rates, and what prevents it from driving."""
    card = _absent(received, now_s, "policy", "inference.launch.py starts one.")
    if card or received is None:
        return card or {}
    status: PolicyStatus = received.message
    tone, headline = _POLICY.get(status.state, ("bad", f"Unknown state {status.state}"))
    if status.state == PolicyStatus.STATE_WAITING and not status.instruction:
        headline = "Waiting for an instruction"
    if status.shadow and status.state == PolicyStatus.STATE_RUNNING:
        headline = "Predicting without driving (shadow mode)"
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


def recorder_card(received: ReceivedStatus | None, now_s: float) -> Card:
    """Return the card of the recorder: the open episode, and what the plan proposes next."""
    card = _absent(
        received, now_s, "recorder", "collect.launch.py starts one, and inference.launch.py with dataset:=DIR."
    )
    if card or received is None:
        return card or {}
    status: RecorderStatus = received.message
    tone, headline = _RECORDER.get(status.state, ("bad", f"Unknown state {status.state}"))
    recording = status.state == RecorderStatus.STATE_RECORDING
    missing = [stream.problem for stream in status.streams if stream.required and stream.problem]
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


def progress_card(received: ReceivedStatus | None) -> Card:
    """Return how many episodes of each task there are, and how many are wanted."""
    if received is None or not received.message.success:
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
            for task in received.message.tasks
        ]
    }
