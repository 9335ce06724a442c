"""What monitoring reads: liveness, readiness, and the robot's figures as Prometheus text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.metrics import RobotCollector
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, StageLatency


def _figures(latest: Latest) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(RobotCollector(latest))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = [item for family in families for item in family.samples]
    return {(item.name, *(item.labels[name] for name in sorted(item.labels))): item.value for item in found}


def test_a_node_that_was_never_heard_has_no_figures() -> None:
    figures = _figures(Latest({"static": "static_camera/image_raw"}))
    assert figures["mobile_vla_up", "gate"] == 0
    assert not any(name.startswith("mobile_vla_gate") for name, *_ in figures)
    assert figures["mobile_vla_camera_rate_hertz", "static"] == 0


def test_the_newest_statuses_are_figures_and_what_is_no_number_is_left_out() -> None:
    latest = Latest({})
    latest.put_status("gate", GateStatus(stopped=True, driver=GateStatus.DRIVER_STOPPED, refused=7))
    status = PolicyStatus(state=PolicyStatus.STATE_RUNNING, starved_ticks=3, temperature_c=float("nan"))
    status.latency = [StageLatency(stage="total", p50_s=0.03, p99_s=0.06)]
    latest.put_status("policy", status)
    figures = _figures(latest)
    assert figures["mobile_vla_up", "gate"] == figures["mobile_vla_gate_stopped",] == 1
    assert figures["mobile_vla_gate_refused_total",] == 7
    assert figures["mobile_vla_policy_starved_ticks_total",] == 3
    assert round(figures["mobile_vla_policy_latency_seconds", "0.99", "total"], 3) == 0.06
    assert ("mobile_vla_policy_temperature_celsius",) not in figures
