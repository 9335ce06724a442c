"""Decide what may move the robot, without ROS: a state machine that takes every time as an argument.

Rules, each with a test:

- Teleop has priority over the policy. When it falls silent, the robot stands still for ``release_s`` before the policy
  may continue, so that a short pause of the operator does not hand the robot back.
- A source that is silent for its timeout no longer drives, and the gate sends zeros. So a policy that has died stops
  the robot after ``policy_timeout_s``.
- After a refused command (not finite, badly stamped, gripper out of range) the robot stands still until the same source
  sends a good command of the same kind. The source keeps its priority: an operator with a broken joystick still stops
  the policy.
- Speed in the plane, yaw rate, acceleration and jerk stay within the contract. Stop, timeout and refusal go to zero at
  once.
- If the contract has ``keep_in``, the robot brakes before the edge of that area; outside, only motion back inside is
  let through, from either source.
- If the contract has ``obstacles``, the robot slows down and stops before what its sensors see; a silent sensor stops
  it. Motion that comes no nearer is let through, from either source.
- The gripper keeps its last position in every case: opening it would drop what it holds.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from mobile_vla_control.area import KeepIn
from mobile_vla_control.limiter import VelocityLimiter
from mobile_vla_control.obstacles import ObstacleGuard
from mobile_vla_data.action import Velocity, clamp
from mobile_vla_data.contract import Contract

ZERO = Velocity()


class Source(enum.Enum):
    """Source of commands, in the order of priority."""

    TELEOP = "teleop"
    POLICY = "policy"


class Driver(enum.IntEnum):
    """Source that drives; the values of mobile_vla_msgs/GateStatus."""

    NONE = 0
    TELEOP = 1
    POLICY = 2
    STOPPED = 3


_DRIVER = {Source.TELEOP: Driver.TELEOP, Source.POLICY: Driver.POLICY}


@dataclass(frozen=True)
class GateSettings:
    """Times of the gate [s]."""

    teleop_timeout_s: float
    """After this long without a teleop command, teleop no longer drives."""
    policy_timeout_s: float
    """After this long without a policy command, the policy no longer drives."""
    release_s: float
    """Time for which the robot stands still after teleop has timed out, before the policy may continue."""
    max_stamp_age_s: float
    """A stamped command that is older than this, or further in the future, is refused."""
    period_s: float
    """Between two calls of :meth:`CommandGate.tick`; after a longer pause velocity changes by two periods at most."""


@dataclass(frozen=True)
class GateOutput:
    """Commands to send now."""

    velocity: Velocity
    gripper: float | None
    """Last commanded position, 0 open .. 1 closed; None before the first."""
    driver: Driver
    reason: str


@dataclass
class GateCounters:
    """Counts since the start."""

    clamped: int = 0
    refused: int = 0
    timeouts: int = 0


@dataclass
class _Input:
    """Newest commands of one source. Times are None before the first."""

    timeout_s: float
    velocity: Velocity = ZERO
    velocity_at: float | None = None
    heard_at: float | None = None
    """When the last message of any kind came, refused ones included: the source is there."""
    faults: dict[str, str] = field(default_factory=dict)
    """'velocity' or 'gripper' -> why the last command of that kind was refused."""

    def present(self, now_s: float) -> bool:
        return self.heard_at is not None and now_s - self.heard_at <= self.timeout_s

    def accept(self, kind: str, now_s: float) -> None:
        """Note a good command; after a silence it also clears older faults."""
        if not self.present(now_s):
            self.faults.clear()
        self.faults.pop(kind, None)
        self.heard_at = now_s

    def wanted(self, now_s: float) -> Velocity | None:
        """Return the velocity that it asks for; None if the robot has to stand still."""
        fresh = self.velocity_at is not None and now_s - self.velocity_at <= self.timeout_s
        return self.velocity if fresh and not self.faults else None


class CommandGate:
    """The state machine. Not thread-safe: the node calls it from one executor thread."""

    def __init__(self, contract: Contract, settings: GateSettings) -> None:
        self._limits = contract.limits
        self._can_strafe = contract.base == "holonomic"
        self._limiter = VelocityLimiter(contract.limits)
        self.keep_in = KeepIn(contract)
        self.obstacles = ObstacleGuard(contract)
        self._settings = settings
        self._inputs = {
            Source.TELEOP: _Input(settings.teleop_timeout_s),
            Source.POLICY: _Input(settings.policy_timeout_s),
        }
        self.counters = GateCounters()
        self.last_refusal = ""
        self._stop_reason = ""
        self._stopped = False
        self._gripper: float | None = None
        self._sent = ZERO
        self._sent_at: float | None = None
        self._driver = Driver.NONE

    @property
    def stopped(self) -> bool:
        """True after :meth:`stop`, until :meth:`resume`."""
        return self._stopped

    @property
    def stop_reason(self) -> str:
        """Reason of the last :meth:`stop`."""
        return self._stop_reason

    def refused_now(self, now_s: float) -> str:
        """Return whose commands are refused now and why, in one line; empty if none are."""
        return "; ".join(
            f"{source.value}: {why}"
            for source, source_input in self._inputs.items()
            if source_input.present(now_s)
            for why in source_input.faults.values()
        )

    def age_s(self, source: Source, now_s: float) -> float:
        """Return the age of the newest accepted velocity command [s]; -1 before the first."""
        at = self._inputs[source].velocity_at
        return -1.0 if at is None else now_s - at

    def offer_velocity(self, source: Source, velocity: Velocity, now_s: float, stamp_age_s: float = 0.0) -> str:
        """Take a velocity command received at ``now_s``; return why it is refused, or an empty string.

        ``stamp_age_s`` is its age by its stamp; 0 for a command without a stamp.
        """
        if not velocity.finite:
            why = f"velocity ({velocity.x}, {velocity.y}, {velocity.yaw_rate}) is not finite"
            return self._refuse(source, "velocity", why, now_s)
        if why := self._badly_stamped(stamp_age_s):
            return self._refuse(source, "velocity", why, now_s)
        source_input = self._inputs[source]
        source_input.accept("velocity", now_s)
        source_input.velocity, source_input.velocity_at = velocity, now_s
        return ""

    def offer_gripper(self, source: Source, position: float, now_s: float, stamp_age_s: float = 0.0) -> str:
        """Take a gripper command; return why it is refused, or an empty string. ``stamp_age_s`` as for a velocity.

        It takes effect only if its source drives. Otherwise it is dropped, so that a command from before a takeover
        does not move the gripper afterwards.
        """
        if not (math.isfinite(position) and 0.0 <= position <= 1.0):
            return self._refuse(source, "gripper", f"gripper position {position} is outside 0 .. 1", now_s)
        if why := self._badly_stamped(stamp_age_s):
            return self._refuse(source, "gripper", why, now_s)
        self._inputs[source].accept("gripper", now_s)
        if not self._stopped and self._choose(now_s)[0] is source:
            self._gripper = position
        return ""

    def stop(self, reason: str) -> None:
        """Send zeros from now on, until :meth:`resume`."""
        self._stopped, self._stop_reason = True, reason

    def resume(self) -> None:
        """End a :meth:`stop`. Older commands are dropped: the robot moves only on a new one."""
        self._stopped = False
        for source_input in self._inputs.values():
            source_input.velocity, source_input.velocity_at, source_input.heard_at = ZERO, None, None

    def tick(self, now_s: float) -> GateOutput:
        """Return what to send at ``now_s``. Call it at a fixed rate: the change of velocity per call is limited."""
        source, why_none = self._choose(now_s)
        velocity, driver, reason = ZERO, Driver.NONE, why_none
        self.obstacles.unseen = ""
        if self._stopped:
            driver, reason = Driver.STOPPED, self._stop_reason
        elif source is not None:
            driver = _DRIVER[source]
            velocity, reason = self._follow(source, now_s)
        if velocity == ZERO:
            self._limiter.halt()
        self._note_timeout(driver)
        self._driver, self._sent, self._sent_at = driver, velocity, now_s
        self.obstacles.sent(velocity, now_s)
        return GateOutput(velocity, self._gripper, driver, reason)

    def _follow(self, source: Source, now_s: float) -> tuple[Velocity, str]:
        """Return the velocity that the source gets, and the reason."""
        wanted, faults = self._inputs[source].wanted(now_s), self._inputs[source].faults
        if wanted is None:
            # A fault or silence stops the robot at once; only what a driver asks for is smoothed.
            return ZERO, f"{source.value} stands still: {'; '.join(faults.values()) or 'no fresh velocity'}"
        period_s = self._settings.period_s
        target = clamp(wanted, self._limits, can_strafe=self._can_strafe)
        elapsed_s = 0.0 if self._sent_at is None else min(max(0.0, now_s - self._sent_at), 2 * period_s)
        # The target first, for a smooth approach; then the result, because edge and obstacle matter more.
        allowed, held = self._guarded(target, now_s)
        smooth = self._limiter.follow(allowed, elapsed_s)
        velocity, cut = (smooth, "") if smooth == allowed else self._guarded(smooth, now_s)
        if velocity != smooth:
            self._limiter.hold(velocity)
        if allowed != wanted or velocity != smooth:
            self.counters.clamped += 1
        reason = held or cut
        stands = "stands still" if velocity == ZERO and reason else "drives"
        return velocity, f"{source.value} {stands}{': ' if reason else ''}{reason}"

    def _guarded(self, wanted: Velocity, now_s: float) -> tuple[Velocity, str]:
        """Return what edge and obstacles leave of ``wanted``, and why it is less."""
        inside, edge = self.keep_in.apply(wanted, now_s, self._settings.period_s)
        clear, obstacle = self.obstacles.apply(inside, now_s, self._settings.period_s)
        return clear, "; ".join(reason for reason in (edge, obstacle) if reason)

    def _choose(self, now_s: float) -> tuple[Source | None, str]:
        teleop, policy = self._inputs[Source.TELEOP], self._inputs[Source.POLICY]
        if teleop.present(now_s):
            return Source.TELEOP, ""
        if not policy.present(now_s):
            return None, "no fresh command"
        if teleop.heard_at is not None:
            left_s = teleop.heard_at + teleop.timeout_s + self._settings.release_s - now_s
            if left_s > 0:
                return None, "teleop was released; the policy continues after the release time"
        return Source.POLICY, ""

    def _note_timeout(self, driver: Driver) -> None:
        """Count a driver that fell silent while the robot moved. A driver that ended with zeros does not count."""
        was_driving = self._driver in (Driver.TELEOP, Driver.POLICY) and self._sent != ZERO
        if was_driving and driver is Driver.NONE:
            self.counters.timeouts += 1

    def _refuse(self, source: Source, kind: str, why: str, now_s: float) -> str:
        self.counters.refused += 1
        self.last_refusal = f"{source.value}: {why}"
        self._inputs[source].faults[kind] = why
        self._inputs[source].heard_at = now_s
        return why

    def _badly_stamped(self, stamp_age_s: float) -> str:
        limit_s = self._settings.max_stamp_age_s
        if abs(stamp_age_s) <= limit_s:
            return ""
        when = f"{stamp_age_s:.2f} s old" if stamp_age_s > 0 else f"{-stamp_age_s:.2f} s in the future"
        return f"stamp is {when}, limit {limit_s} s"
