"""Processor time that the guard against obstacles adds to a tick of the gate, without ROS, with two laser scanners."""

from __future__ import annotations

import math
import statistics
import time
from itertools import pairwise

import numpy as np
from common import ROOT, Figure

from mobile_vla_control.gate import CommandGate, GateSettings, Source
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

_TICK_S = 0.05
_RAYS = 720
_LIMITS = (0.05, 12.0)


def measure(quick: bool) -> list[Figure]:
    """Drive towards a wall of a room of 6 x 6 m with four pillars, again and again, at 20 Hz with scans at 10 Hz."""
    bare = Contract.load(ROOT / "config" / "robot.yaml")
    sensors = [
        {"topic": "front", "max_age_s": 0.3, "x_m": 0.15},
        {"topic": "rear", "max_age_s": 0.3, "x_m": -0.15, "yaw_rad": math.pi},
    ]
    footprint = [[0.25, 0.2], [-0.25, 0.2], [-0.25, -0.2], [0.25, -0.2]]
    obstacles = {"sensors": sensors, "footprint": footprint, "stop_distance_m": 0.1}
    guarded = Contract.from_dict({**bare.model_dump(mode="json"), "obstacles": obstacles})
    ticks = 1_000 if quick else 10_000
    without, with_guard, message = _ticks(bare, ticks), _ticks(guarded, ticks), _messages(guarded, ticks // 5)
    added_ms = 1e3 * (statistics.median(with_guard) - statistics.median(without))
    p99_ms = 1e3 * float(np.percentile(with_guard, 99))
    return [
        Figure("gate tick without obstacles, p50", 1e3 * statistics.median(without), "ms"),
        Figure("gate tick with obstacles, p99", p99_ms, "ms", "<= 5"),
        Figure("added to a gate tick by obstacles, p50", added_ms, "ms", "<= 1"),
        Figure(f"taking a scan of {_RAYS} rays, p50", 1e3 * statistics.median(message), "ms", "<= 1"),
    ]


def _ranges(x: float, yaw: float) -> np.ndarray:
    """Distances [m] from (x, 0) in the room, one per ray, with 1 cm of noise."""
    angles = yaw - math.pi + 2 * math.pi / _RAYS * np.arange(_RAYS)
    cosine, sine = np.cos(angles), np.sin(angles)
    with np.errstate(divide="ignore"):
        found = np.minimum(
            np.where(cosine > 0, (3 - x) / cosine, (-3 - x) / cosine), np.where(sine > 0, 3 / sine, -3 / sine)
        )
    for px, py in ((1.0, 0.6), (1.0, -0.6), (-1.0, 0.6), (-1.0, -0.6)):
        ahead, aside = (px - x) * cosine + py * sine, (px - x) * sine - py * cosine
        hit = (ahead > 0) & (np.abs(aside) < 0.1)
        near = ahead - np.sqrt(np.maximum(0.01 - aside**2, 0))
        found = np.where(hit, np.minimum(found, near), found)
    noise = np.random.default_rng(round(1000 * abs(x))).normal(0, 0.01, _RAYS)
    return np.asarray(found + noise, dtype=np.float32)


def _ticks(contract: Contract, count: int) -> list[float]:
    """Durations of ticks [s]."""
    gate = CommandGate(contract, GateSettings(0.5, 0.3, 1.0, 0.5, _TICK_S))
    durations, x, now_s = [], -2.0, 0.0
    for tick in range(count):
        if contract.obstacles and tick % 2 == 0:
            for index, sensor in enumerate(contract.obstacles.sensors):
                _scan(gate, index, _ranges(x + sensor.x_m, sensor.yaw_rad), now_s)
        gate.offer_velocity(Source.POLICY, Velocity(0.8, 0.0, 0.3), now_s)
        began = time.thread_time()
        output = gate.tick(now_s)
        durations.append(time.thread_time() - began)
        x = x + output.velocity.x * _TICK_S if x < 2.4 else -2.0
        now_s += _TICK_S
    return durations


def _messages(contract: Contract, count: int) -> list[float]:
    """Durations of taking a scan [s]."""
    gate = CommandGate(contract, GateSettings(0.5, 0.3, 1.0, 0.5, _TICK_S))
    ranges, times = _ranges(0.0, 0.0), []
    for number in range(count + 1):
        times.append(time.thread_time())
        _scan(gate, 0, ranges, number * _TICK_S)
    return [after - before for before, after in pairwise(times)]


def _scan(gate: CommandGate, sensor: int, ranges: np.ndarray, now_s: float) -> None:
    gate.obstacles.put_scan(sensor, ranges, (-math.pi, 2 * math.pi / _RAYS), _LIMITS, now_s, now_s)
