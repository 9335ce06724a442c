"""Commands of the gate to the robot, as one action per control period."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import CommandIntegrator, Velocity
from mobile_vla_data.contract import COMMAND, Contract
from mobile_vla_data.observation import Stream, StreamCounters

_KEPT_ARRIVALS = 256
#: Where nothing else is said, a velocity command older than this is silence [s]: six missed commands of the gate.
COMMAND_MAX_AGE_S = 0.3


@dataclass(frozen=True)
class CommandedPeriod:
    """Commands to the robot during one control period."""

    action: npt.NDArray[np.float32]
    """float32 ``[3 or 4]``, the columns of :func:`mobile_vla_data.action.action_names`."""
    takeover: bool
    """True if a human was in command at any time in the period."""
    lost_yaw_rad: float
    """Commanded turning that the action does not carry [rad], 0 or more."""


class CommandTrack:
    """Follows the gate's output. Thread-safe: commands come from the executor, :meth:`close` from the ticker.

    ``stream`` counts the velocity commands like any other input; ``max_age_s`` says when the gate counts as silent.
    """

    def __init__(self, contract: Contract, topic: str, max_age_s: float) -> None:
        self.stream = Stream(COMMAND, topic, True, max_age_s)
        self._thresholds = contract.thresholds
        self._integrator = CommandIntegrator(contract)
        self._velocity = Velocity()
        self._heard_mono_ns: int | None = None
        self._human_drives = False
        self._human_drove = False
        self._lock = threading.Lock()

    def take_velocity(self, mono_ns: int, stamp_ns: int, velocity: Velocity) -> None:
        """Take a velocity, received at ``mono_ns`` on the monotonic clock and ``stamp_ns`` on the clock of stamps."""
        with self._lock:
            counters = self.stream.counters
            if not velocity.finite:
                counters.refused += 1
                counters.last_refusal = f"velocity {velocity} is not finite"
                return
            counters.received += 1
            self.stream.stamp_ns = stamp_ns
            self.stream.arrivals_ns = [*self.stream.arrivals_ns[1 - _KEPT_ARRIVALS :], stamp_ns]
            self._heard_mono_ns = mono_ns
            self._velocity = velocity
            self._integrator.command_velocity(mono_ns, velocity)

    def take_gripper(self, position: float) -> None:
        """Take a gripper position, 0 open .. 1 closed; one that is not finite is ignored."""
        with self._lock:
            if math.isfinite(position):
                self._integrator.command_gripper(position)

    def take_driver(self, *, human: bool) -> None:
        """Note whether a human drives now, as the gate says."""
        with self._lock:
            self._human_drives = human
            self._human_drove = self._human_drove or human

    def restart(self, mono_ns: int, gripper_position: float) -> None:
        """Begin a period at ``mono_ns`` with the velocity that is in effect, and the gripper where it is."""
        with self._lock:
            closed = self._thresholds.decide(gripper_position, False)
            self._integrator.reset(mono_ns, gripper_closed=closed, velocity=self._velocity)
            self._human_drove = self._human_drives

    def reset_counters(self) -> None:
        """Start counting from zero."""
        with self._lock:
            self.stream.counters = StreamCounters()

    def close(self, mono_ns: int) -> CommandedPeriod:
        """End the period at ``mono_ns`` and begin the next."""
        with self._lock:
            action = self._integrator.close(mono_ns)
            takeover, self._human_drove = self._human_drove, self._human_drives
            return CommandedPeriod(action, takeover, self._integrator.lost_yaw_rad)

    def problem(self, mono_ns: int) -> str:
        """Return why the newest velocity is not valid at ``mono_ns``; empty if it is."""
        heard_mono_ns = self._heard_mono_ns
        if heard_mono_ns is None:
            return f"nothing has arrived on '{self.stream.topic}'"
        age_s, limit_s = (mono_ns - heard_mono_ns) * 1e-9, self.stream.max_age_s
        if abs(age_s) <= limit_s:
            return ""
        return f"'{self.stream.topic}' is silent: newest command {age_s:.1f} s old, limit {limit_s} s"
