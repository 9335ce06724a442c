"""The newest statuses as Prometheus metrics. A node that is not heard has no figures, only ``mobile_vla_up`` 0."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mobile_vla_dashboard.latest import Latest

#: Status -> field of its message, name of the metric, help. Names end in the unit, counters in _total by themselves.
_GAUGES = {
    "gate": (
        ("stopped", "gate_stopped", "1 after gate/stop, until gate/resume"),
        ("driver", "gate_driver", "0 none, 1 operator, 2 policy, 3 stopped"),
    ),
    "policy": (
        ("state", "policy_state", "0 unconfigured, 1 loading, 2 inactive, 3 waiting, 4 running, 5 error"),
        ("inference_rate_hz", "policy_inference_rate_hertz", "Forward passes per second"),
        ("command_rate_hz", "policy_command_rate_hertz", "Commands per second"),
        ("observation_age_s", "policy_observation_age_seconds", "Age of the newest complete observation, -1 without"),
        ("queue_depth", "policy_queue_depth", "Actions ready to be sent"),
        ("memory_bytes", "policy_memory_bytes", "Resident memory of the policy's process"),
        ("gpu_memory_bytes", "policy_gpu_memory_bytes", "Memory of CUDA devices that torch has allocated"),
        ("temperature_c", "policy_temperature_celsius", "Hottest sensor of the platform"),
    ),
    "recorder": (
        ("state", "recorder_state", "0 inactive, 1 ready, 2 recording, 3 saving, 4 error"),
        ("steps", "recorder_episode_steps", "Steps of the open episode"),
        ("dropped_ticks", "recorder_episode_dropped_ticks", "Ticks of the open episode without a fresh observation"),
        ("real_rate_hz", "recorder_rate_hertz", "Measured rate of the open episode"),
        ("episodes_saved", "recorder_episodes", "Complete episodes in the dataset folder"),
        ("disk_free_bytes", "recorder_disk_free_bytes", "Free space where the dataset is"),
    ),
}
_COUNTERS = {
    "gate": (
        ("clamped", "gate_clamped", "Commands reduced to the contract's limits"),
        ("refused", "gate_refused", "Commands refused"),
        ("timeouts", "gate_timeouts", "Times a source fell silent while it was driving"),
    ),
    "policy": (
        ("steps", "policy_steps", "Forward passes since activation"),
        ("starved_ticks", "policy_starved_ticks", "Ticks without an action"),
        ("refused_chunks", "policy_refused_chunks", "Outputs of the model that were not finite"),
        ("late_chunks", "policy_late_chunks", "Chunks whose last action had passed when they came"),
    ),
    "recorder": (),
}


class RobotCollector(Collector):
    """Reads the newest statuses whenever Prometheus asks."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest

    def collect(self) -> Iterator[Metric]:
        """Return one family after the other."""
        heard = {name: self._latest.fresh(name) for name in _GAUGES}
        up = GaugeMetricFamily("mobile_vla_up", "1 if the node's status is fresh", labels=["node"])
        for name, message in heard.items():
            up.add_metric([name], float(message is not None))
        yield up
        for name, message in heard.items():
            if message is not None:
                yield from _figures(name, message)
        if heard["policy"] is not None:
            yield _latency(heard["policy"])
        yield from self._cameras()

    def _cameras(self) -> Iterator[Metric]:
        rate = GaugeMetricFamily(
            "mobile_vla_camera_rate_hertz",
            "Images per second that arrive, while a browser or a trial looks",
            labels=["camera"],
        )
        for index, name in enumerate(self._latest.cameras):
            rate.add_metric([name], self._latest.reception(index).rate_hz)
        yield rate
        yield GaugeMetricFamily("mobile_vla_dashboard_viewers", "Browsers that look", value=self._latest.viewers)


def _figures(name: str, message: Any) -> Iterator[Metric]:
    for field, metric, help_ in _GAUGES[name]:
        if math.isfinite(value := float(getattr(message, field))):
            yield GaugeMetricFamily(f"mobile_vla_{metric}", help_, value=value)
    for field, metric, help_ in _COUNTERS[name]:
        yield CounterMetricFamily(f"mobile_vla_{metric}", help_, value=float(getattr(message, field)))


def _latency(message: Any) -> Metric:
    family = GaugeMetricFamily(
        "mobile_vla_policy_latency_seconds", "Latency over the last steps", labels=["stage", "quantile"]
    )
    for stage in message.latency:
        for quantile, value in (("0.5", stage.p50_s), ("0.99", stage.p99_s)):
            family.add_metric([stage.stage, quantile], value)
    return family
