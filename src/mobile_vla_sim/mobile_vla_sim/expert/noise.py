"""Disturbs the driven velocity, so that demonstrations show how to return to the path."""

from __future__ import annotations

import math

import numpy as np

from mobile_vla_data.action import Velocity, clamp
from mobile_vla_data.contract import Contract
from mobile_vla_sim.world.geometry import Points

_LATEST_TICKS = 8
"""The gripper is late by at most this many control periods."""
_CHANCE_PER_TICK = 0.02
"""Probability that a driving robot begins to close its gripper in a control period."""


class DrivingNoise:
    """Disturbs the driven velocity, while the expert's own command is recorded (DART, Laskey et al. 2017).

    Correlated in time (an autoregressive process), so that the robot really leaves the path, with an occasional push.
    After a push beside its target it may be held for a moment. Without this no demonstration shows how to go on from a
    standstill, and a policy that has come to one stays there (inertia, Codevilla et al. 2019).
    """

    def __init__(self, random: np.random.Generator, contract: Contract, sigma_m_s: float = 0.22) -> None:
        self._random, self._contract, self._sigma = random, contract, sigma_m_s
        self._noise: Points = np.zeros(2)
        self._push: Points = np.zeros(2)
        self._push_ticks = self._held_ticks = 0

    def disturb(self, command: Velocity) -> Velocity:
        """The velocity to execute in this control period instead of ``command``; within the contract's limit."""
        if self._push_ticks == 0 and self._held_ticks > 0:
            self._held_ticks -= 1
            return Velocity()
        persistence = 0.8
        fresh = self._random.normal(0.0, self._sigma * math.sqrt(1.0 - persistence**2), size=2)
        self._noise = persistence * self._noise + fresh
        speed = math.hypot(command.x, command.y)
        near = speed <= 0.35
        # A robot that stands is not pushed: at the goal the lesson is to stand still.
        if self._push_ticks == 0 and speed > 0.08 and self._random.random() < (0.08 if near else 0.05):
            angle = self._random.uniform(0.0, math.tau)
            self._push = 0.6 * np.array([math.cos(angle), math.sin(angle)])
            # Shorter beside the target, so that it stays within an arm's length.
            self._push_ticks = int(self._random.integers(3, 7 if near else 13))
            self._held_ticks = int(self._random.integers(0, 11)) if near else 0
        push = self._push if self._push_ticks > 0 else np.zeros(2)
        self._push_ticks = max(0, self._push_ticks - 1)
        calm = 0.15 + 0.85 * min(1.0, speed / 0.5)
        extra = calm * self._noise + push
        can_strafe = self._contract.base == "holonomic"
        if can_strafe:
            disturbed = Velocity(command.x + float(extra[0]), command.y + float(extra[1]))
        else:
            disturbed = Velocity(command.x + 0.5 * float(extra[0]), 0.0, command.yaw_rate + 2.0 * float(extra[1]))
        return clamp(disturbed, self._contract.limits, can_strafe=can_strafe)


class GripperNoise:
    """Makes the gripper late, and closes it now and then on the way.

    So demonstrations show that it has to close, or open, for as long as it has not yet: without this, one frame of an
    episode shows it, and a policy that misses that frame waits for ever. They also show how to open it again.
    """

    def __init__(self, random: np.random.Generator, closed: bool = False) -> None:
        """``closed``: the gripper holds something at the start."""
        self._random = random
        self._ticks = self._late_ticks = 0
        self._wanted = self._executed = closed

    def disturb(self, closed: bool, velocity: Velocity) -> bool:
        """Whether to close the gripper in this control period, instead of ``closed``."""
        if closed != self._wanted:
            self._wanted, self._late_ticks = closed, int(self._random.integers(0, _LATEST_TICKS + 1))
        if self._late_ticks == 0:
            self._executed = closed
        self._late_ticks = max(0, self._late_ticks - 1)
        closed = self._executed
        # Where the robot stands, its gripper is at work.
        if not closed and math.hypot(velocity.x, velocity.y) > 0.3 and self._random.random() < _CHANCE_PER_TICK:
            self._ticks = int(self._random.integers(4, 9))
        self._ticks = max(0, self._ticks - 1)
        return closed or self._ticks > 0
