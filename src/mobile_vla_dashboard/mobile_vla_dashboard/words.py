"""Status messages as the page shows them: words, a tone, numbers. No rclpy, no web framework.

Everything comes from a topic. If a status has never arrived, or not for :data:`SILENT_S`, the page says so; its last
content is never shown as if it were current.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from mobile_vla_dashboard.latest import SILENT_S, Latest, ReceivedStatus
from mobile_vla_dashboard.wording import Words, say
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus

#: A camera without an image for this long counts as silent [s].
CAMERA_SILENT_S = 1.0

Card = dict[str, Any]

_GATE = {
    GateStatus.DRIVER_NONE: ("idle", "gate.none"),
    GateStatus.DRIVER_TELEOP: ("active", "gate.teleop"),
    GateStatus.DRIVER_POLICY: ("active", "gate.policy"),
    GateStatus.DRIVER_STOPPED: ("bad", "gate.stopped"),
}
_POLICY = {
    PolicyStatus.STATE_UNCONFIGURED: ("idle", "policy.unconfigured"),
    PolicyStatus.STATE_LOADING: ("warn", "policy.loading"),
    PolicyStatus.STATE_INACTIVE: ("idle", "policy.inactive"),
    PolicyStatus.STATE_WAITING: ("idle", "policy.waiting"),
    PolicyStatus.STATE_RUNNING: ("active", "policy.running"),
    PolicyStatus.STATE_ERROR: ("bad", "policy.error"),
}
_RECORDER = {
    RecorderStatus.STATE_INACTIVE: ("idle", "recorder.inactive"),
    RecorderStatus.STATE_IDLE: ("ok", "recorder.idle"),
    RecorderStatus.STATE_RECORDING: ("active", "recorder.recording"),
    RecorderStatus.STATE_SAVING: ("warn", "recorder.saving"),
    RecorderStatus.STATE_ERROR: ("bad", "recorder.error"),
}


def number(value: float, digits: int = 2) -> float | None:
    """Return ``value`` rounded, or None for NaN and infinity, which JSON does not have."""
    return round(float(value), digits) if math.isfinite(value) else None


def page_state(latest: Latest, contract: Contract, names: Mapping[str, Words] | None = None) -> Card:
    """Return everything that the page shows besides images, ready for JSON.

    ``names``: what the page calls a checkpoint instead, while nobody is to know which one drives.
    """
    now_s = time.monotonic()
    return {
        "robot": contract.robot,
        "base": contract.base,
        "gripper": contract.has_gripper,
        "cameras": [camera_card(latest, index, name) for index, name in enumerate(latest.cameras)],
        "gate": gate_card(latest.status("gate"), now_s),
        "policy": without_names(policy_card(latest.status("policy"), now_s), names or {}),
        "recorder": recorder_card(latest.status("recorder"), now_s),
        "edits": latest.edits,
    }


def camera_card(latest: Latest, index: int, name: str) -> Card:
    """Return the card of one camera: its rate, or why there are no images."""
    topic, received = latest.cameras[name], latest.reception(index)
    words: Words | None = None
    if received.refusal:
        words = say("camera.refused", topic=topic, why=received.refusal)
    elif received.silent_s is None:
        words = say("camera.never", topic=topic)
    elif received.silent_s > CAMERA_SILENT_S:
        words = say("camera.silent", topic=topic, seconds=round(received.silent_s))
    rate_hz = number(received.rate_hz, 1)
    return {"name": name, "tone": "bad" if words else "ok", "words": words or "", "rate_hz": rate_hz}


def _absent(received: ReceivedStatus | None, now_s: float, who: str) -> Card | None:
    """Return the card of a node that does not run, ``who`` in the table of words; None if it runs."""
    hint = say(f"hint.{who}")
    if received is None:
        return {"present": False, "tone": "off", "headline": say(f"absent.{who}"), "detail": hint}
    silent_s = now_s - received.received_s
    if silent_s > SILENT_S:
        detail = say("silent.detail", seconds=round(silent_s), hint=hint)
        return {"present": False, "tone": "bad", "headline": say(f"silent.{who}"), "detail": detail}
    return None


def gate_card(received: ReceivedStatus | None, now_s: float) -> Card:
    """Return the card of the gate: who drives, and why."""
    card = _absent(received, now_s, "gate")
    if card or received is None:
        return {"stopped": False, **(card or {})}
    status: GateStatus = received.message
    tone, headline = _GATE.get(status.driver, ("bad", "gate.unknown"))
    return {
        "present": True,
        "tone": "bad" if status.fault else tone,
        "headline": say(headline, number=status.driver),
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
    card = _absent(received, now_s, "policy")
    if card or received is None:
        return card or {}
    status: PolicyStatus = received.message
    tone, headline = _POLICY.get(status.state, ("bad", "state.unknown"))
    if status.state == PolicyStatus.STATE_WAITING and not status.instruction:
        headline = "policy.uninstructed"
    if status.shadow and status.state == PolicyStatus.STATE_RUNNING:
        headline = "policy.shadow"
    total = next((stage for stage in status.latency if stage.stage == "total"), None)
    return {
        "present": True,
        "tone": tone,
        "headline": say(headline, number=status.state),
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


def without_names(card: Card, names: Mapping[str, Words]) -> Card:
    """Return a card of the policy that does not say which checkpoint it has."""
    if not names:
        return card
    checkpoint, detail = card.get("checkpoint"), card.get("detail", "")
    if isinstance(detail, str) and any(folder in detail for folder in names):
        detail = ""
    return {**card, "checkpoint": names.get(checkpoint, "") if checkpoint else "", "detail": detail}


def recorder_card(received: ReceivedStatus | None, now_s: float) -> Card:
    """Return the card of the recorder: the open episode, and what the plan proposes next."""
    card = _absent(received, now_s, "recorder")
    if card or received is None:
        return card or {}
    status: RecorderStatus = received.message
    tone, headline = _RECORDER.get(status.state, ("bad", "state.unknown"))
    recording = status.state == RecorderStatus.STATE_RECORDING
    missing = [stream.problem for stream in status.streams if stream.required and stream.problem]
    return {
        "present": True,
        "tone": "warn" if missing and tone == "ok" else tone,
        "headline": say(headline, number=status.state),
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
