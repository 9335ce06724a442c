"""One step per control tick: the observation at the tick, and what the robot was told until the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mobile_vla_collect.recorder.camera_watch import CameraWatch
from mobile_vla_data.action import CommandIntegrator, Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_data.observation import GRIPPER_STATE, ODOMETRY, Observation, ObservationBuilder, Stream

COMMAND = "command"


@dataclass(frozen=True)
class Step:
    """A complete step, ready to be written."""

    stamp_ns: int
    """The control tick."""
    images: dict[str, Image]
    """Camera -> RGB uint8 ``[height, width, 3]``."""
    state: npt.NDArray[np.float32]
    """float32 ``[3]``: x [m], y [m], gripper."""
    action: npt.NDArray[np.float32]
    """float32 ``[3]``: delta_x [m], delta_y [m], gripper."""
    stamps_ns: dict[str, int]
    """Stream -> capture time."""
    takeover: bool


class Sampler:
    """Turns messages and ticks into steps. Thread-safe: commands come from the executor, ticks from the ticker.

    The action of the step at tick k is the integral of the gate's output over ``[t_k, t_k+1)``, so a step is complete
    when the next tick fires; the step that is open at the end of an episode has no action and is left out.
    """

    def __init__(
        self, builder: ObservationBuilder, command_topic: str, command_max_age_s: float, pre_trigger_s: float = 0.0
    ) -> None:
        contract: Contract = builder.contract
        self._builder = builder
        self._thresholds = contract.gripper
        self._integrator = CommandIntegrator(contract)
        self._lock = threading.Lock()
        self._velocity = Velocity()
        self._command_mono_ns: int | None = None
        self._teleop_drives = False
        self._takeover = False
        self._pending: Observation | None = None
        self._watch = CameraWatch()
        self._cameras: tuple[str, ...] = ()
        # What was sampled since the last dropped tick while no episode was open.
        self._before: deque[Step] = deque(maxlen=round(pre_trigger_s * contract.control_rate_hz))
        self._policy_drives = False
        self._recording = False
        self._newest_ns = 0
        """Tick of the newest step of the open episode."""
        self.command = Stream(COMMAND, command_topic, True, command_max_age_s)
        self.dropped_ticks = 0
        self.last_drop = ""
        """Why the newest dropped tick was dropped."""
        self.frozen = ""
        """Which camera is frozen at the newest tick, and for how long; empty when none is."""

    def take_velocity(self, mono_ns: int, stamp_ns: int, velocity: Velocity) -> None:
        """Take a velocity of the gate, received at ``mono_ns`` on the monotonic clock, ``stamp_ns`` on the stamps'."""
        with self._lock:
            counters = self.command.counters
            if not velocity.finite:
                counters.refused += 1
                counters.last_refusal = f"velocity {velocity} is not finite"
                return
            counters.received += 1
            self.command.stamp_ns = stamp_ns
            self.command.arrivals_ns = [*self.command.arrivals_ns[-255:], stamp_ns]
            self._command_mono_ns = mono_ns
            self._velocity = velocity
            self._integrator.command_velocity(mono_ns, velocity)

    def take_gripper(self, position: float) -> None:
        """Take a gripper position of the gate, 0 open .. 1 closed."""
        with self._lock:
            if np.isfinite(position):
                self._integrator.command_gripper(position)

    def take_driver(self, teleop: bool) -> None:
        """Note whether a human drives, as the gate says."""
        with self._lock:
            self._teleop_drives = teleop
            self._takeover = self._takeover or teleop

    def cameras_present(self, now_ns: int) -> tuple[str, ...]:
        """The cameras an episode that starts now would have: the required ones, and the others that deliver."""
        return tuple(
            stream.name
            for stream in self._builder.streams
            if stream.name in self._builder.contract.cameras
            and (stream.required or ((age_s := stream.age_s(now_ns)) is not None and age_s <= stream.max_age_s))
        )

    def problems(self, mono_ns: int, now_ns: int) -> list[str]:
        """Why no step can be taken now, one line for each input; empty if one can."""
        problems = self._builder.problems(now_ns)
        if why := self._command_problem(mono_ns):
            problems.append(f"{why}; is the command gate running?")
        return problems

    def begin(self, mono_ns: int, cameras: Sequence[str], *, policy_drives: bool) -> list[Step]:
        """Begin an episode with these cameras; a tick without one of them is a dropped tick from now on.

        ``policy_drives``: a human in command is a takeover. Otherwise a human driving is just what is wanted.
        Returns the steps of the last ``pre_trigger_s`` that the episode begins with, oldest first.
        """
        self._builder.reset_counters()
        with self._lock:
            before = [
                replace(
                    step,
                    images={name: step.images[name] for name in cameras},
                    stamps_ns={name: step.stamps_ns[name] for name in (*cameras, ODOMETRY, GRIPPER_STATE)},
                    takeover=step.takeover and policy_drives,
                )
                for step in self._before_with(set(cameras))
            ]
            if not before:
                self._restart(mono_ns)
            self._newest_ns = before[-1].stamp_ns if before else 0
            self._before.clear()
            self._watch.clear()
            self.command.counters = type(self.command.counters)()
            self._cameras, self._policy_drives = tuple(cameras), policy_drives
            self.dropped_ticks, self.last_drop, self.frozen = 0, "", ""
            self._recording = True
            return before

    def _before_with(self, cameras: set[str]) -> list[Step]:
        """The newest steps without a gap that all have these cameras, up to the open one."""
        pending = self._pending
        if pending is None or cameras & set(pending.stale) or not cameras <= pending.images.keys():
            return []
        found: list[Step] = []
        for step in reversed(self._before):
            if not cameras <= step.images.keys():
                break
            found.insert(0, step)
        return found

    def end(self) -> None:
        """End the episode; the open step is left out."""
        with self._lock:
            self._pending, self._recording = None, False
            self._before.clear()

    def _restart(self, mono_ns: int) -> None:
        """Forget the open step and begin a period with what is in effect now."""
        position = next(s.value for s in self._builder.streams if s.name == GRIPPER_STATE)
        self._integrator.reset(
            mono_ns, gripper_closed=self._thresholds.decide(position or 0.0, False), velocity=self._velocity
        )
        self._pending, self._takeover = None, self._teleop_drives

    def tick(self, mono_ns: int, stamp_ns: int, missed: int) -> Step | None:
        """Close the open step and open the next at this tick; returns the closed one if it is complete.

        ``missed`` ticks before this one could not be met; they count as dropped, and so does the open step: its action
        would be that of several periods.
        """
        if not self._recording and not self._before.maxlen:
            return None
        observation = self._builder.snapshot(stamp_ns)
        with self._lock:
            step = self._close(mono_ns, stamp_ns)
            if missed:
                self._drop(missed + (step is not None), f"the recorder's process was too late for {missed} ticks")
                step = None
            self._pending = self._usable(observation, stamp_ns)
            if self._recording:
                return step
            if step is not None:
                self._before.append(step)
            return None

    def drop(self, why: str) -> None:
        """Count one step that was taken but could not be kept."""
        with self._lock:
            self._drop(1, why)

    def findings(self) -> list[str]:
        """What is wrong with the cameras' images of this episode, one line each."""
        return self._watch.blank()

    def counters(self) -> dict[str, dict[str, int]]:
        """Stream -> late, missing, repeated and refused inputs of this episode."""
        return {
            stream.name: {
                key: getattr(stream.counters, key) for key in ("received", "late", "missing", "repeated", "refused")
            }
            for stream in [*self._builder.streams, self.command]
        }

    def _close(self, mono_ns: int, stamp_ns: int) -> Step | None:
        action, takeover = self._integrator.close(mono_ns), self._takeover
        self._takeover = self._teleop_drives
        pending = self._pending
        if pending is None:
            return None
        if why := self._command_problem(mono_ns):
            self.command.counters.late += 1
            self._drop(1, why)
            return None
        # Also while it catches up: in a file ticks only rise.
        behind_ns = max(pending.stamp_ns - stamp_ns, self._newest_ns - pending.stamp_ns if self._recording else -1)
        if behind_ns >= 0:
            self._drop(1, f"the system clock was set back by {behind_ns * 1e-9:.1f} s; stop, and record it again")
            return None
        self._newest_ns = pending.stamp_ns
        cameras = self._cameras if self._recording else tuple(set(pending.images) - set(pending.stale))
        return Step(
            pending.stamp_ns,
            {name: pending.images[name] for name in cameras},
            pending.state,
            action,
            {name: pending.stamps_ns[name] for name in (*cameras, ODOMETRY, GRIPPER_STATE)},
            takeover and (self._policy_drives or not self._recording),
        )

    def _usable(self, observation: Observation | None, stamp_ns: int) -> Observation | None:
        """The observation if a step can be made of it; otherwise the tick is counted as dropped."""
        if observation is None:
            self._drop(1, "; ".join(self._builder.problems(stamp_ns)))
            return None
        silent = set(self._cameras) - (set(observation.images) - set(observation.stale))
        if silent and self._recording:
            self._drop(1, f"optional camera '{sorted(silent)[0]}' fell silent")
            return None
        # A picture that does not follow the robot is as bad as none.
        self.frozen = "; ".join(self._watch.frozen(observation))
        if self.frozen:
            self._drop(1, self.frozen)
            return None
        return observation

    def _command_problem(self, mono_ns: int) -> str:
        if self._command_mono_ns is None:
            return f"nothing has arrived on '{self.command.topic}'"
        age_s = (mono_ns - self._command_mono_ns) * 1e-9
        if age_s > self.command.max_age_s:
            return (
                f"'{self.command.topic}' is silent: newest command {age_s:.1f} s old, limit {self.command.max_age_s} s"
            )
        return ""

    def _drop(self, count: int, why: str) -> None:
        self._before.clear()
        if self._recording:
            self.dropped_ticks += count
            self.last_drop = why
