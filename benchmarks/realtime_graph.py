"""The tiny policy in the full ROS system: simulator with both cameras at 30 Hz, policy_node, gate, each a process.

Parameters are those of config/sim.yaml and config/inference.yaml, but for the cameras' rate. Measured from outside, by
a node that listens like any other:

* camera to cmd_vel: from the stamp of the picture behind a chunk to the first cmd_vel that the gate sends after it has
  got that chunk's first command; waiting for the gate's own tick is part of it;
* interval error: how far the time between two arrivals of cmd_vel is from the declared period;
* kill -9: from killing policy_node while the robot moves to the first zero on cmd_vel;
* slowed: every forward pass filled up to 0.3 s. A control period counts as fresh if it got a command from the queue.
"""

from __future__ import annotations

import bisect
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from common import ROOT, Figure
from geometry_msgs.msg import Twist, TwistStamped

from mobile_vla_msgs.msg import ActionChunk, PolicyStatus
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

CAMERA_RATE_HZ = 30.0
INSTRUCTION = "go to the kitchen"
SLOW_S = 0.3
#: A command's stamp may be this much earlier than the arrival of the chunk it came with, and still belong to it.
_TOGETHER_NS = 5_000_000


def measure(checkpoint: Path, quick: bool) -> list[Figure]:
    """Run the system twice, with the policy as it is and slowed down."""
    seconds = 20.0 if quick else 300.0
    figures = _as_it_is(checkpoint, seconds, kills=2 if quick else 5)
    return figures + _slowed(checkpoint, seconds=15.0 if quick else 60.0)


def _as_it_is(checkpoint: Path, seconds: float, kills: int) -> list[Figure]:
    with _system(checkpoint, []) as (probe, policy, start_policy):
        ears = _Ears(probe)
        _until_driving(ears)
        cpu_before_s, began = _cpu_s(policy.process.pid), time.monotonic()
        ears.clear()
        time.sleep(seconds)
        heard_s = time.monotonic() - began
        cpu = (_cpu_s(policy.process.pid) - cpu_before_s) / heard_s
        status = ears.statuses[-1]
        latency_ms = ears.latencies_ms()
        errors = ears.interval_errors()
        figures = [
            Figure("camera stamp to cmd_vel, p50", _percentile(latency_ms, 50), "ms", "<= 40"),
            Figure("camera stamp to cmd_vel, p99", _percentile(latency_ms, 99), "ms", "<= 90"),
            Figure("cmd_vel", len(ears.velocities) / heard_s, "Hz"),
            Figure("cmd_vel interval error, p99", 100 * _percentile(errors, 99), "%", "<= 20"),
            Figure("inference", status.inference_rate_hz, "Hz", ">= 9.5"),
            Figure(f"starved ticks in {seconds:.0f} s", status.starved_ticks - ears.starved_before, "ticks", "== 0"),
            Figure("policy_node processor", cpu, "cores"),
            Figure("policy_node memory", status.memory_bytes / 1e6, "MB"),
        ]
        figures += [Figure(f"policy: {item.stage}, p50", 1e3 * item.p50_s, "ms") for item in status.latency]
        figures += [Figure(f"policy: {item.stage}, p99", 1e3 * item.p99_s, "ms") for item in status.latency]
        stops = []
        for _ in range(kills):
            stops.append(_kill(ears, policy))
            # DDS lists a killed node for 20 s, and the next policy would take it for a rival.
            policy = start_policy()
            _until_driving(ears, timeout_s=90.0)
        figures.append(Figure("kill -9 to zero on cmd_vel, worst", max(stops), "s", "<= 0.4"))
    return figures


def _slowed(checkpoint: Path, seconds: float) -> list[Figure]:
    command = [sys.executable, str(ROOT / "benchmarks" / "slow_policy_node.py"), str(SLOW_S)]
    with _system(checkpoint, command) as (probe, _policy, _start):
        ears = _Ears(probe)
        _until_driving(ears)
        ears.clear()
        began = time.monotonic()
        time.sleep(seconds)
        heard_s = time.monotonic() - began
        periods = {to_ns(message.header.stamp) // 100_000_000 for message in ears.policy if _moves(message)}
        status = ears.statuses[-1]
        starved = status.starved_ticks - ears.starved_before
        return [
            Figure("slowed to 300 ms: control periods with a fresh action", len(periods) / heard_s, "Hz", ">= 9.5"),
            Figure(f"slowed to 300 ms: starved ticks in {seconds:.0f} s", starved, "ticks", "== 0"),
            Figure("slowed to 300 ms: inference", status.inference_rate_hz, "Hz"),
        ]


@contextmanager
def _system(checkpoint: Path, policy_command: list[str]) -> Iterator[tuple[Probe, NodeProcess, Any]]:
    contract = {"contract": str(ROOT / "config" / "robot.yaml"), "stamped": True}
    sim = {**_parameters("sim"), **contract, "camera_rate_hz": CAMERA_RATE_HZ}
    inference = {**_parameters("inference"), **contract}
    policy_parameters = {**inference, "checkpoint": str(checkpoint), "instruction": INSTRUCTION, "autostart": True}
    with ExitStack() as stack:
        stack.enter_context(unique_domain())

        def start_policy() -> NodeProcess:
            return stack.enter_context(
                NodeProcess("mobile_vla_policy", "policy_node", policy_parameters, command=policy_command)
            )

        stack.enter_context(NodeProcess("mobile_vla_sim", "sim_node", sim))
        stack.enter_context(NodeProcess("mobile_vla_control", "command_gate_node", inference))
        policy = start_policy()
        probe = stack.enter_context(Probe())
        probe.call(ResetSim, "sim/reset", ResetSim.Request(seed=1), timeout_s=60.0)
        yield probe, policy, start_policy


class _Ears:
    """Collects what the policy and the gate say."""

    def __init__(self, probe: Probe) -> None:
        node = probe.node
        self.velocities: list[tuple[float, TwistStamped]] = []
        self.policy: list[TwistStamped] = []
        self.chunks: list[tuple[int, int]] = []
        """When the picture was captured and when the chunk arrived, both [ns]."""
        self.statuses: list[PolicyStatus] = probe.collect(PolicyStatus, "policy/status", LATCHED)
        self.starved_before = 0
        node.create_subscription(
            TwistStamped, "cmd_vel", lambda message: self.velocities.append((time.monotonic(), message)), 100
        )
        node.create_subscription(TwistStamped, "cmd_vel_policy", self.policy.append, 100)
        node.create_subscription(
            ActionChunk,
            "policy/action_chunk",
            lambda message: self.chunks.append((to_ns(message.header.stamp), probe.now_ns())),
            100,
        )

    def clear(self) -> None:
        """Begin to measure."""
        self.velocities.clear()
        self.policy.clear()
        self.chunks.clear()
        self.starved_before = self.statuses[-1].starved_ticks

    def latencies_ms(self) -> list[float]:
        """For each chunk, from its picture to the first cmd_vel sent after its first command."""
        policy = [to_ns(message.header.stamp) for message in self.policy]
        gate = [to_ns(message.header.stamp) for _, message in self.velocities]
        latencies = []
        for captured, arrived in self.chunks:
            at = bisect.bisect_left(policy, arrived - _TOGETHER_NS)
            if at == len(policy):
                continue
            sent = bisect.bisect_right(gate, policy[at])
            if sent < len(gate):
                latencies.append((gate[sent] - captured) * 1e-6)
        return latencies

    def interval_errors(self) -> list[float]:
        """|interval - declared period| / declared period of cmd_vel."""
        period_s = 1.0 / float(_parameters("inference")["rate_hz"])
        arrivals = np.array([at for at, _ in self.velocities])
        return list(np.abs(np.diff(arrivals) - period_s) / period_s)


def _until_driving(ears: _Ears, timeout_s: float = 120.0) -> None:
    def driving() -> bool:
        return bool(ears.statuses) and ears.statuses[-1].state == PolicyStatus.STATE_RUNNING and _last_moves(ears)

    wait_for(driving, timeout_s, "the policy to drive")
    time.sleep(3.0)


def _last_moves(ears: _Ears) -> bool:
    return bool(ears.velocities) and _moves(ears.velocities[-1][1])


def _moves(message: TwistStamped) -> bool:
    return message.twist != Twist()


def _kill(ears: _Ears, policy: NodeProcess) -> float:
    wait_for(lambda: _last_moves(ears), 30.0, "the robot to move")
    began = time.monotonic()
    policy.process.kill()
    wait_for(lambda: not _last_moves(ears), 5.0, "the robot to stand")
    return next(at for at, message in ears.velocities if at > began and not _moves(message)) - began


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def _parameters(name: str) -> Mapping[str, Any]:
    data = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    parameters: Mapping[str, Any] = data["/**"]["ros__parameters"]
    return parameters
