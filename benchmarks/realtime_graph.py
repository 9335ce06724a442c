"""The tiny policy in the full ROS system: simulator with both cameras at 30 Hz, policy_node, gate, each a process.

Parameters are those of config/sim.yaml and config/inference.yaml, but for the cameras' rate. Measured from outside, by
a node that listens like any other:

* camera to cmd_vel: from the stamp of the image behind a chunk to the first cmd_vel that the gate sends after it has
  got that chunk's first command; waiting for the gate's own tick is part of it;
* interval error: how far the time between two arrivals of cmd_vel is from the declared period. DDS notes itself, in its
  own thread, when a message was sent and when it arrived (rclpy tells from ROS 2 Iron on); the time at which this
  listener's Python woke up is reported, too;
* kill -9: from killing policy_node while the robot moves to the first zero on cmd_vel;
* slowed: every forward pass filled up to 0.3 s, most of the 0.5 s that a chunk lasts. What is left of a chunk when it
  arrives is then played slower until the next one is due (max_stretch), so that the queue never runs dry. A control
  period counts as fresh if it got a command from the queue; the age of the image behind a command is reported, too;
* success: trial_node drives the same unseen scenes with the policy as it is and slowed down, within the same time.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from common import ROOT, Figure, cpu_s, say
from geometry_msgs.msg import Twist, TwistStamped

from mobile_vla_msgs.msg import ActionChunk, PolicyStatus
from mobile_vla_msgs.srv import ResetSim, SetInstruction
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.realtime import ask_for_realtime
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

CAMERA_RATE_HZ = 30.0
INSTRUCTION = "go to the kitchen"
SLOW_S = 0.3
#: Scenes driven by each of the two; one is 5 points.
TRIALS = 20
#: By then a new instruction has its first chunk [s].
_FIRST_CHUNK_S = 2.0
#: Slower than this the robot stands, or has arrived [m/s].
_STANDS_M_S = 0.02
_CONTRACT = {"contract": str(ROOT / "config" / "robot.yaml"), "stamped": True}


def measure(checkpoint: Path, quick: bool) -> list[Figure]:
    """Run the system twice, with the policy as it is and slowed down."""
    trials = 0 if quick else TRIALS
    figures, fast = _as_it_is(checkpoint, 20.0 if quick else 300.0, trials)
    more, slow = _slowed(checkpoint, 15.0 if quick else 30.0, trials)
    figures += more
    if trials:
        figures += [
            Figure(f"trials that reach the room, of {trials}", 100.0 * fast / trials, "%"),
            Figure(f"slowed to 300 ms: trials that reach the room, of {trials}", 100.0 * slow / trials, "%"),
            Figure("slowed to 300 ms: success lost", 100.0 * (fast - slow) / trials, "points", "<= 10"),
        ]
    return figures


def measure_kills(checkpoint: Path, quick: bool) -> list[Figure]:
    """Kill the policy while it drives; each time in a system of its own."""
    stops = []
    for number in range(kills := 1 if quick else 5):
        say(f"kill -9 number {number + 1} of {kills}")
        with _system(checkpoint, []) as (probe, policy):
            ears = _Ears(probe)
            _until_driving(ears)
            stops.append(_kill(ears, policy))
    return [Figure("kill -9 to zero on cmd_vel, worst", max(stops), "s", "<= 0.4")]


def _as_it_is(checkpoint: Path, seconds: float, trials: int) -> tuple[list[Figure], int]:
    with _system(checkpoint, []) as (probe, policy):
        ears = _Ears(probe)
        _until_driving(ears)
        say(f"measures for {seconds:.0f} s, {trials} trials first")
        cpu_before_s, began = cpu_s(policy.process.pid), time.monotonic()
        ears.clear()
        successes = _drive_trials(trials)
        _follow(probe, INSTRUCTION)
        time.sleep(_FIRST_CHUNK_S)
        first, first_s = len(ears.policy), time.monotonic()
        time.sleep(max(_FIRST_CHUNK_S, began + seconds - time.monotonic()))
        zeros = sum(message.twist == Twist() for message in ears.policy[first:])
        followed_s, heard_s = time.monotonic() - first_s, time.monotonic() - began
        cpu = (cpu_s(policy.process.pid) - cpu_before_s) / heard_s
        status = ears.statuses[-1]
        latency_ms = ears.latencies_ms()
        sent, arrived, heard = (100 * _percentile(errors, 99) for errors in ears.interval_errors())
        figures = [
            Figure("camera stamp to cmd_vel, p50", _percentile(latency_ms, 50), "ms", "<= 40"),
            Figure("camera stamp to cmd_vel, p99", _percentile(latency_ms, 99), "ms", "<= 90"),
            Figure("cmd_vel", len(ears.velocities) / heard_s, "Hz"),
            Figure("cmd_vel interval error as it arrives, p99", arrived, "%", "<= 20"),
            Figure("cmd_vel interval error as the gate sends, p99", sent, "%"),
            Figure("cmd_vel interval error as a Python listener wakes, p99", heard, "%"),
            Figure("inference", status.inference_rate_hz, "Hz", ">= 9.5"),
            Figure(f"starved ticks in {heard_s:.0f} s", status.starved_ticks - ears.starved_before, "ticks", "== 0"),
            Figure(f"commands of zero in {followed_s:.0f} s of one instruction, whatever the reason", zeros, "ticks"),
            Figure("policy_node processor", cpu, "cores"),
            Figure("policy_node memory", status.memory_bytes / 1e6, "MB"),
        ]
        figures += [Figure(f"policy: {item.stage}, p50", 1e3 * item.p50_s, "ms") for item in status.latency]
        figures += [Figure(f"policy: {item.stage}, p99", 1e3 * item.p99_s, "ms") for item in status.latency]
    return figures, successes


def _slowed(checkpoint: Path, seconds: float, trials: int) -> tuple[list[Figure], int]:
    command = [sys.executable, str(ROOT / "benchmarks" / "slow_policy_node.py"), str(SLOW_S)]
    with _system(checkpoint, command) as (probe, _policy):
        ears = _Ears(probe)
        _until_driving(ears)
        say(f"slowed to {SLOW_S} s: measures for {seconds:.0f} s, {trials} trials first")
        ears.clear()
        began = time.monotonic()
        successes = _drive_trials(trials)
        _follow(probe, INSTRUCTION)
        time.sleep(2.0)
        first, first_s = len(ears.policy), time.monotonic()
        time.sleep(seconds)
        commands, heard_s = ears.policy[first:], time.monotonic() - first_s
        periods = {to_ns(message.header.stamp) // 100_000_000 for message in commands if message.twist != Twist()}
        status = ears.statuses[-1]
        starved = status.starved_ticks - ears.starved_before
        ages_s = ears.picture_ages_s(commands)
        figures = [
            Figure("slowed to 300 ms: control periods with a fresh action", len(periods) / heard_s, "Hz", ">= 9.5"),
            Figure(f"slowed to 300 ms: starved ticks in {time.monotonic() - began:.0f} s", starved, "ticks", "== 0"),
            Figure("slowed to 300 ms: inference", status.inference_rate_hz, "Hz"),
            Figure("slowed to 300 ms: age of the image behind a command, p50", _percentile(ages_s, 50), "s"),
            Figure("slowed to 300 ms: age of the image behind a command, p99", _percentile(ages_s, 99), "s"),
        ]
    return figures, successes


def _drive_trials(trials: int) -> int:
    """Return how many trials of the launched policy succeed, in scenes that were never demonstrated."""
    if not trials:
        return 0
    with tempfile.TemporaryDirectory(prefix="bench_trials_") as folder:
        output = Path(folder, "trials.json")
        parameters = {**_parameters("sim"), **_CONTRACT, "trials": trials, "seed": 7, "output": str(output)}
        node = NodeProcess("mobile_vla_sim", "trial_node", parameters)
        if node.wait(60.0 + 30.0 * trials) != 0:
            raise RuntimeError(f"trial_node failed:\n{node.output}")
        return int(json.loads(output.read_text())["successes"])


def _follow(probe: Probe, instruction: str) -> None:
    answer = probe.call(SetInstruction, "policy/set_instruction", SetInstruction.Request(instruction=instruction))
    if not answer.success:
        raise RuntimeError(f"policy/set_instruction refused: {answer.message}")


@contextmanager
def _system(checkpoint: Path, policy_command: list[str]) -> Iterator[tuple[Probe, NodeProcess]]:
    sim = {**_parameters("sim"), **_CONTRACT, "camera_rate_hz": CAMERA_RATE_HZ}
    inference = {**_parameters("inference"), **_CONTRACT}
    policy_parameters = {**inference, "checkpoint": str(checkpoint), "instruction": INSTRUCTION, "autostart": True}
    with ExitStack() as stack:
        stack.enter_context(unique_domain())
        stack.enter_context(NodeProcess("mobile_vla_sim", "sim_node", sim))
        stack.enter_context(NodeProcess("mobile_vla_control", "command_gate_node", inference))
        policy = stack.enter_context(
            NodeProcess("mobile_vla_policy", "policy_node", policy_parameters, command=policy_command)
        )
        probe = stack.enter_context(_punctual_probe())
        _reset(probe)
        yield probe, policy


def _punctual_probe() -> Probe:
    """A listener whose threads come before ordinary ones, where that is permitted, as a base's driver has them.

    It should measure the lateness of the system, not its own. This thread, which starts processes, keeps its
    scheduling.
    """
    ask_for_realtime()
    try:
        return Probe()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _reset(probe: Probe) -> None:
    """Begin a scene. The request is repeated until it is answered, because one sent before discovery is lost."""
    for _ in range(12):
        with suppress(TimeoutError):
            probe.call(ResetSim, "sim/reset", ResetSim.Request(seed=1), timeout_s=10.0)
            return
    raise TimeoutError("sim_node answered no sim/reset for 2 minutes")


class _Ears:
    """Collects what the policy and the gate say."""

    def __init__(self, probe: Probe) -> None:
        node = probe.node
        self.velocities: list[tuple[float, TwistStamped]] = []
        self._stamps_ns: list[tuple[int, int, int]] = []
        """When each cmd_vel was sent, arrived, and was heard here."""
        self.policy: list[TwistStamped] = []
        self.chunks: list[tuple[int, int]] = []
        """Capture time of the image and arrival of the chunk [ns]."""
        self.statuses: list[PolicyStatus] = probe.collect(PolicyStatus, "policy/status", LATCHED)
        self.starved_before = 0
        node.create_subscription(TwistStamped, "cmd_vel", self._on_velocity, 100)
        node.create_subscription(TwistStamped, "cmd_vel_policy", self.policy.append, 100)
        node.create_subscription(
            ActionChunk,
            "policy/action_chunk",
            lambda message: self.chunks.append((to_ns(message.header.stamp), probe.now_ns())),
            100,
        )

    def _on_velocity(self, message: TwistStamped, info: Mapping[str, Any]) -> None:
        self.velocities.append((time.monotonic(), message))
        self._stamps_ns.append((info["source_timestamp"], info["received_timestamp"], time.monotonic_ns()))

    def clear(self) -> None:
        """Begin to measure."""
        self.velocities.clear()
        self._stamps_ns.clear()
        self.policy.clear()
        self.chunks.clear()
        self.starved_before = self.statuses[-1].starved_ticks

    def latencies_ms(self) -> list[float]:
        """For each chunk, from its image to the first cmd_vel sent after its first command."""
        policy = [to_ns(message.header.stamp) for message in self.policy]
        gate = [to_ns(message.header.stamp) for _, message in self.velocities]
        latencies = []
        for captured, arrived in self.chunks:
            # The policy sends the command first and the chunk behind it, and its timer begins anew then: the last
            # command stamped before the chunk was here is the chunk's.
            at = bisect.bisect_right(policy, arrived) - 1
            if at < 0:
                continue
            sent = bisect.bisect_right(gate, policy[at])
            if sent < len(gate):
                latencies.append((gate[sent] - captured) * 1e-6)
        return latencies

    def picture_ages_s(self, commands: list[TwistStamped]) -> list[float]:
        """For each command of the policy, the age of the newest image from which a chunk had been predicted."""
        arrivals = [arrived for _, arrived in self.chunks]
        ages = []
        for message in commands:
            sent = to_ns(message.header.stamp)
            if at := bisect.bisect_right(arrivals, sent):
                ages.append((sent - self.chunks[at - 1][0]) * 1e-9)
        return ages

    def interval_errors(self) -> list[list[float]]:
        """|interval - declared period| / declared period of cmd_vel: as sent, as arrived, as heard here."""
        period_ns = 1e9 / float(_parameters("inference")["rate_hz"])
        intervals_ns = np.diff(np.array(self._stamps_ns, dtype=np.int64), axis=0).T
        return [list(np.abs(row - period_ns) / period_ns) for row in intervals_ns]


def _until_driving(ears: _Ears, timeout_s: float = 240.0) -> None:
    """Wait until the policy runs and its commands pass the gate; whether they ask for motion does not matter."""

    def driving() -> bool:
        fresh = ears.policy and ears.velocities and time.monotonic() - ears.velocities[-1][0] < 0.5
        status = ears.statuses[-1] if ears.statuses else None
        return bool(fresh) and status is not None and status.state == PolicyStatus.STATE_RUNNING

    try:
        wait_for(driving, timeout_s)
    except TimeoutError:
        said = ears.statuses[-1].message if ears.statuses else "nothing on policy/status"
        raise TimeoutError(f"waited {timeout_s:.0f} s for the policy to drive: {said}") from None
    time.sleep(3.0)


def _last_moves(ears: _Ears) -> bool:
    return bool(ears.velocities) and _moves(ears.velocities[-1][1])


def _moves(message: TwistStamped) -> bool:
    return math.hypot(message.twist.linear.x, message.twist.linear.y) > _STANDS_M_S


def _kill(ears: _Ears, policy: NodeProcess) -> float:
    wait_for(lambda: _last_moves(ears), 30.0, "the robot to move")
    ears.statuses.clear()
    began = time.monotonic()
    policy.process.kill()
    wait_for(lambda: ears.velocities[-1][1].twist == Twist(), 5.0, "the robot to stand")
    return next(at for at, message in ears.velocities if at > began and message.twist == Twist()) - began


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def _parameters(name: str) -> Mapping[str, Any]:
    data = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    parameters: Mapping[str, Any] = data["/**"]["ros__parameters"]
    return parameters
