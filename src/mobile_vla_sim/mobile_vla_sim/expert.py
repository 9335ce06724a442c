"""The scripted expert drives the shortest way, slows down and stops at the goal. Its noise teaches recovery."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_sim.scene import planner_for
from mobile_vla_sim.tasks import Task

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ExpertConfig:
    """How the expert drives."""

    speed_m_s: float = 0.7
    """Cruising speed; below the contract's limit so that corrections have room."""
    look_ahead_m: float = 0.35
    """How far along the path it aims: rounds the corners."""
    slow_down_per_s: float = 1.6
    """Speed per metre left to the goal, so that it stops smoothly [1/s]."""
    stop_within_m: float = 0.06
    turn_per_s: float = 2.5
    """Differential base: yaw rate per radian of heading error [1/s]."""


class Expert:
    """Velocity commands for one task, from the ground truth. Acceleration stays within the contract's limit."""

    def __init__(self, task: Task, contract: Contract, config: ExpertConfig | None = None) -> None:
        self._planner = planner_for(task)
        self._contract, self._config = contract, config or ExpertConfig()
        self._speed_m_s = min(self._config.speed_m_s, contract.limits.linear_m_s)
        self._velocity: Points = np.zeros(2)

    def command(self, x: float, y: float, yaw: float, period_s: float) -> Velocity:
        """The velocity to hold for the next ``period_s`` seconds, in the robot frame.

        Args:
            x: position in the world frame [m], as ``y``.
            y: see ``x``.
            yaw: heading [rad].
            period_s: time since the last call, which limits the change of velocity [s].
        """
        wanted = self._wanted(x, y)
        if self._contract.base == "differential":
            return self._steer(wanted, yaw)
        step = wanted - self._velocity
        most = self._contract.limits.linear_acceleration_m_s2 * period_s
        size = float(np.linalg.norm(step))
        self._velocity = self._velocity + (step if size <= most else step * (most / size))
        cos, sin = math.cos(yaw), math.sin(yaw)
        vx, vy = float(self._velocity[0]), float(self._velocity[1])
        return Velocity(cos * vx + sin * vy, cos * vy - sin * vx)

    def _wanted(self, x: float, y: float) -> Points:
        """World velocity [m/s] towards a point on the path, slower near the goal."""
        path = self._planner.path(x, y)
        lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
        left_m = float(lengths.sum())
        if left_m < self._config.stop_within_m:
            return np.zeros(2)
        aim = _along(path, lengths, min(self._config.look_ahead_m, left_m)) - path[0]
        distance = float(np.linalg.norm(aim))
        speed = min(self._speed_m_s, self._config.slow_down_per_s * left_m)
        return aim * (speed / distance) if distance > 1e-9 else np.zeros(2)

    def _steer(self, wanted: Points, yaw: float) -> Velocity:
        """A differential base turns towards the wanted direction and drives as far as it faces it."""
        speed = float(np.linalg.norm(wanted))
        if speed < 1e-6:
            return Velocity()
        error = math.remainder(math.atan2(wanted[1], wanted[0]) - yaw, math.tau)
        limit = self._contract.limits.angular_rad_s
        # Never a turn on the spot: it would have no image as a displacement.
        forward = speed * max(0.15, math.cos(error))
        return Velocity(forward, 0.0, max(-limit, min(limit, self._config.turn_per_s * error)))


def _along(path: Points, lengths: Points, distance_m: float) -> Points:
    """The point ``distance_m`` along a polyline."""
    for start, end, length in zip(path[:-1], path[1:], lengths, strict=True):
        if distance_m <= length and length > 0.0:
            return np.asarray(start + (end - start) * (distance_m / length))
        distance_m -= length
    return np.asarray(path[-1])


class DrivingNoise:
    """Disturbs what is driven, while the expert's own command is what is recorded (DART, Laskey et al. 2017).

    Correlated in time (an autoregressive process), so that the robot really ends up beside the path, with now and
    then a push.
    """

    def __init__(self, random: np.random.Generator, contract: Contract, sigma_m_s: float = 0.22) -> None:
        self._random, self._contract, self._sigma = random, contract, sigma_m_s
        self._noise: Points = np.zeros(2)
        self._push: Points = np.zeros(2)
        self._push_ticks = 0

    def disturb(self, command: Velocity) -> Velocity:
        """The velocity to execute in this control period instead of ``command``; within the contract's limit."""
        persistence = 0.8
        fresh = self._random.normal(0.0, self._sigma * math.sqrt(1.0 - persistence**2), size=2)
        self._noise = persistence * self._noise + fresh
        if self._push_ticks == 0 and self._random.random() < 0.03:
            angle = self._random.uniform(0.0, math.tau)
            self._push = 0.6 * np.array([math.cos(angle), math.sin(angle)])
            self._push_ticks = int(self._random.integers(3, 8))
        push = self._push if self._push_ticks > 0 else np.zeros(2)
        self._push_ticks = max(0, self._push_ticks - 1)
        # Less of it where the expert slows down: at the goal the lesson is to stand still.
        calm = 0.25 + 0.75 * min(1.0, math.hypot(command.x, command.y) / 0.5)
        extra = calm * (self._noise + push)
        if self._contract.base == "differential":
            disturbed = Velocity(command.x + 0.5 * float(extra[0]), 0.0, command.yaw_rate + 2.0 * float(extra[1]))
            return limited(disturbed, self._contract)
        return limited(Velocity(command.x + float(extra[0]), command.y + float(extra[1])), self._contract)


def limited(velocity: Velocity, contract: Contract) -> Velocity:
    """``velocity`` scaled down to the contract's largest speed and yaw rate."""
    speed = math.hypot(velocity.x, velocity.y)
    scale = min(1.0, contract.limits.linear_m_s / speed) if speed > 0.0 else 1.0
    turn = contract.limits.angular_rad_s
    return Velocity(velocity.x * scale, velocity.y * scale, max(-turn, min(turn, velocity.yaw_rate)))
