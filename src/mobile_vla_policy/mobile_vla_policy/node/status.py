"""Messages for policy/status, policy/action_chunk and /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mobile_vla_data.action import action_names, motion_names
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import ActionChunk, PolicyStatus, StageLatency
from mobile_vla_policy.node.commands import Commands
from mobile_vla_policy.runtime.comparison import Agreement
from mobile_vla_policy.runtime.driver import DriveState, PolicyDriver, Tick
from mobile_vla_policy.runtime.inference import ForwardPass
from mobile_vla_policy.runtime.platform import gpu_bytes, resident_bytes, temperature_c
from mobile_vla_ros.convert import stream_status, to_stamp
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Health
from mobile_vla_ros.observation_inputs import ObservationInputs

#: State of a driver -> state in the message.
_STATE = {
    DriveState.IDLE: PolicyStatus.STATE_WAITING,
    DriveState.WAITING: PolicyStatus.STATE_WAITING,
    DriveState.RUNNING: PolicyStatus.STATE_RUNNING,
    DriveState.ERROR: PolicyStatus.STATE_ERROR,
}

_LEVEL = {
    PolicyStatus.STATE_UNCONFIGURED: WARN,
    PolicyStatus.STATE_LOADING: WARN,
    PolicyStatus.STATE_INACTIVE: OK,
    PolicyStatus.STATE_WAITING: WARN,
    PolicyStatus.STATE_RUNNING: OK,
    PolicyStatus.STATE_ERROR: ERROR,
}

_NAME = {
    PolicyStatus.STATE_UNCONFIGURED: "unconfigured",
    PolicyStatus.STATE_LOADING: "loading",
    PolicyStatus.STATE_INACTIVE: "inactive",
    PolicyStatus.STATE_WAITING: "waiting",
    PolicyStatus.STATE_RUNNING: "running",
    PolicyStatus.STATE_ERROR: "error",
}


def chunk_message(done: ForwardPass, number: int, contract: Contract) -> ActionChunk:
    """Return the chunk of a forward pass, the ``number``-th since activation, as the model predicted it."""
    names = motion_names(action_names(contract))
    message = ActionChunk(
        instruction=done.instruction,
        period_s=contract.period_s,
        step=number,
        inference_s=done.inference_s,
        gripper=done.gripper.tolist(),
        **{name: values.tolist() for name, values in zip(names, done.deltas.T, strict=True)},
    )
    message.header.stamp = to_stamp(done.stamp_ns)
    message.header.frame_id = contract.action.frame
    return message


def state_of(tick: Tick | None, loading: str, *, loaded: bool, error: str) -> tuple[int, str]:
    """Return the state for the message PolicyStatus, and one line.

    ``tick`` is the newest one while the node is active; ``loading`` is the progress while a checkpoint is loaded, empty
    otherwise; ``error`` is why the last transition failed.
    """
    if tick is not None:
        return _STATE[tick.state], tick.message
    if loading:
        return PolicyStatus.STATE_LOADING, loading
    if loaded:
        return PolicyStatus.STATE_INACTIVE, "loaded; activate the node to drive"
    return PolicyStatus.STATE_UNCONFIGURED, error or "no checkpoint is loaded; configure the node to load one"


def status_message(
    state: int,
    message: str,
    now_ns: int,
    *,
    checkpoint: str,
    shadow: bool,
    commands: Commands,
    driver: PolicyDriver | None,
    inputs: ObservationInputs | None,
) -> PolicyStatus:
    """Return everything about the policy at ``now_ns``. ``inputs`` exist once a policy is loaded."""
    status = PolicyStatus(
        state=state,
        message=message,
        checkpoint=checkpoint,
        shadow=shadow,
        command_rate_hz=commands.rate_hz,
        observation_age_s=-1.0,
        memory_bytes=resident_bytes(),
        temperature_c=temperature_c(),
        **_shadow_figures(commands.agreement),
    )
    status.header.stamp = to_stamp(now_ns)
    if inputs is not None:
        status.gpu_memory_bytes = gpu_bytes()
        streams = inputs.builder.streams
        status.streams = [stream_status(stream, now_ns) for stream in streams]
        ages = [stream.age_s(now_ns) for stream in streams if stream.required]
        if all(age is not None for age in ages):
            status.observation_age_s = max(age for age in ages if age is not None)
    if driver is not None:
        status.instruction = driver.instruction
        status.inference_rate_hz = driver.inference_rate.rate_hz(time.monotonic())
        status.latency = [
            StageLatency(stage=stage, p50_s=p50, p99_s=p99)
            for stage, (p50, p99) in driver.latency.percentiles().items()
        ]
        status.queue_depth = driver.scheduler.depth(now_ns)
        status.starved_ticks = driver.scheduler.starved_ticks
        status.steps = driver.passes
        status.refused_chunks = driver.refused_chunks
        status.late_chunks = driver.scheduler.late_chunks
    return status


def _shadow_figures(agreement: Agreement) -> dict[str, int | float]:
    return {
        "shadow_samples": agreement.samples,
        "shadow_velocity_difference_mean_m_s": agreement.velocity_mean_m_s,
        "shadow_velocity_difference_p95_m_s": agreement.velocity_p95_m_s,
        "shadow_yaw_rate_difference_mean_rad_s": agreement.yaw_rate_mean_rad_s,
        "shadow_yaw_rate_difference_p95_rad_s": agreement.yaw_rate_p95_rad_s,
        "shadow_gripper_samples": agreement.gripper_samples,
        "shadow_gripper_agreement": agreement.gripper_share,
    }


def health(status: PolicyStatus) -> Health:
    """Return the health for /diagnostics."""
    values: Mapping[str, Any] = {
        "state": _NAME[status.state],
        "checkpoint": status.checkpoint,
        "instruction": status.instruction,
        "shadow": status.shadow,
        "inference rate [Hz]": round(status.inference_rate_hz, 2),
        "command rate [Hz]": round(status.command_rate_hz, 2),
        "observation age [s]": round(status.observation_age_s, 3),
        "starved ticks": status.starved_ticks,
        "refused chunks": status.refused_chunks,
        "late chunks": status.late_chunks,
        "memory [MB]": round(status.memory_bytes / 1e6),
        "GPU memory [MB]": round(status.gpu_memory_bytes / 1e6),
        "temperature [deg C]": round(status.temperature_c, 1),
        **{f"{item.stage} p50 [ms]": round(item.p50_s * 1e3, 1) for item in status.latency},
    }
    if status.shadow:
        values = {**values, **_shadow_values(status)}
    return Health(_LEVEL[status.state], status.message or "OK", values)


def _shadow_values(status: PolicyStatus) -> dict[str, int | float]:
    return {
        "shadow: samples": status.shadow_samples,
        "shadow: velocity difference mean [m/s]": round(status.shadow_velocity_difference_mean_m_s, 3),
        "shadow: velocity difference p95 [m/s]": round(status.shadow_velocity_difference_p95_m_s, 3),
        "shadow: yaw rate difference mean [rad/s]": round(status.shadow_yaw_rate_difference_mean_rad_s, 3),
        "shadow: yaw rate difference p95 [rad/s]": round(status.shadow_yaw_rate_difference_p95_rad_s, 3),
        "shadow: gripper samples": status.shadow_gripper_samples,
        "shadow: gripper agreement": round(status.shadow_gripper_agreement, 3),
    }
