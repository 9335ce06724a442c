"""The driver: observations go in, a thread runs inference, and each tick of the command timer gets an action.

    camera frame ── wake ──► [inference thread]  newest observation ► policy ► ForwardPass
                                                                                │ results
    command timer ── tick ─► drain passes ► scheduler ► Tick(action or stop, state, why)

The code of the inference thread is in :mod:`mobile_vla_policy.runtime.inference`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_policy.runtime.inference import ForwardPass, Inference, SeenMaps, Task
from mobile_vla_policy.runtime.scheduler import Action, ChunkRefusedError, ChunkScheduler, SchedulerOptions
from mobile_vla_policy.runtime.statistics import LatencyWindow, RateMeter
from mobile_vla_policy.runtime.worker import Failure, InferenceWorker

#: Wait after an exception in a forward pass: the next one will most likely fail in the same way [s].
_RETRY_S = 1.0

_NO_INSTRUCTION = "no instruction: call policy/set_instruction or send a policy/execute goal"

#: After inputs were silent for this long, the policy's memory is outdated, and it starts with an empty one [s].
_FORGET_S = 1.0


_TOO_SLOW = "a forward pass takes longer than its chunk lasts, so every chunk arrives too late"

_THREAD_ENDED = "the inference thread has ended; deactivate and activate again"


class DriveState(Enum):
    """State of a drive."""

    IDLE = "idle"
    """No instruction."""
    WAITING = "waiting"
    """A required input is missing or stale, or the first chunk is not there yet."""
    RUNNING = "running"
    ERROR = "error"
    """The drive failed; the tick's fault says why."""


class Fault(Enum):
    """Cause of an error."""

    INFERENCE = "inference"
    """A forward pass raises, does not return, or predicts actions that cannot be driven."""
    ANOTHER_POLICY = "another policy"
    """A second policy commands this robot."""


@dataclass(frozen=True)
class Tick:
    """Result of one tick of the command timer."""

    state: DriveState
    message: str
    action: Action | None
    """None: stop."""
    passes: list[ForwardPass] = field(default_factory=list)
    """Forward passes that ended since the last tick, with chunks that can be driven."""
    fault: Fault | None = None
    """With the state ERROR."""


class PolicyDriver:
    """One drive of a policy, from activation to deactivation.

    ``clock_ns`` is the clock of the message stamps. ``mono_ns`` measures the interval between chunks and the time of a
    goal: the steady clock, or in a simulation the clock of the stamps, because a chunk lasts for simulated time. What a
    forward pass takes and how long to wait after a failure are always real time. ``notify`` is called on the inference
    thread after each pass, so that the next tick need not wait for the timer.
    """

    def __init__(
        self,
        policy: DrivingPolicy,
        builder: ObservationBuilder,
        options: SchedulerOptions,
        clock_ns: Callable[[], int],
        *,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        inference_timeout_s: float,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        contract = policy.contract
        self._policy, self._builder = policy, builder
        self.mono_ns = mono_ns
        self._inference_timeout_s = inference_timeout_s
        self.scheduler = ChunkScheduler(contract.period_ns, contract.thresholds, options)
        self.latency = LatencyWindow()
        self.inference_rate = RateMeter()
        self.passes = 0
        self.refused_chunks = 0
        self.last_refusal = ""
        self.failure: Failure | None = None
        """Failure of the newest forward pass; None if it succeeded."""
        self._refused_in_a_row = 0
        self._late_before = 0
        """Late chunks of the instructions before."""
        self._stamp_measured = 0
        self._intervals_ns: list[int] = []
        self._arrival_ns: int | None = None
        self._delay_ns = 0
        self._lost_since_s: float | None = None
        self._inference = Inference(policy, builder, clock_ns)
        self._worker: InferenceWorker[ForwardPass] = InferenceWorker(self._inference.step, notify)

    @property
    def instruction(self) -> str:
        """Current instruction; empty if there is none."""
        return self._inference.task.instruction

    def check_instruction(self, instruction: str) -> str:
        """Return why this policy cannot follow an instruction, in one line; empty if it can."""
        return self._policy.check_instruction(instruction)

    def want_maps(self, wanted: bool) -> None:
        """Compute heatmaps from now on, or no longer."""
        self._inference.want_maps = wanted

    @property
    def maps(self) -> SeenMaps | None:
        """The newest heatmaps, None if there are none."""
        return self._inference.maps

    def start(self) -> None:
        """Start inference as soon as there are an instruction and an observation."""
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Begin no further forward pass; return whether the running one ended in time. Its result is dropped."""
        self._inference.task = Task(self._inference.task.generation + 1, "")
        return self._worker.stop(timeout_s)

    def wake(self) -> None:
        """Tell the inference thread that a new image has come."""
        self._worker.wake()

    def follow(self, instruction: str) -> None:
        """Follow another instruction, or none if empty; drop the chunks and the memory of the old one."""
        self._restart(instruction)
        self.failure = None
        self._inference.retry_at_s = 0.0
        self._worker.wake()

    def begin_anew(self) -> None:
        """Restart the same instruction, because an operator has driven meanwhile."""
        self.follow(self.instruction)

    def lost_s(self) -> float:
        """Return for how long a required input has been missing [s]."""
        return 0.0 if self._lost_since_s is None else time.monotonic() - self._lost_since_s

    def tick(self, now_ns: int) -> Tick:
        """Take the results of the inference thread and return the command of this tick."""
        passes = self._drain(now_ns)
        # At every tick: after the clock was set back, the thread must not wait for a time of before.
        self._inference.replan_ns = self.scheduler.replan_ns(now_ns, self._delay_ns)
        if not self.instruction:
            return Tick(DriveState.IDLE, _NO_INSTRUCTION, None)
        if problems := self._builder.problems(now_ns, self._policy.cameras):
            self._lose()
            return Tick(DriveState.WAITING, "; ".join(problems), None, passes)
        self._lost_since_s = None
        busy_s = self._worker.busy_s()
        if busy_s > self._inference_timeout_s:
            self.scheduler.reset()
            return _inference_fails(f"the forward pass has not returned for {busy_s:.1f} s", passes)
        action = self.scheduler.action(now_ns)
        if action is not None:
            self._measure(action, now_ns)
            return Tick(DriveState.RUNNING, self.last_refusal if self._refused_in_a_row else "", action, passes)
        if self._worker.dead:
            why = f": {self.failure.message}" if self.failure is not None else ""
            return _inference_fails(f"{_THREAD_ENDED}{why}", passes)
        if self.failure is not None:
            return _inference_fails(f"the forward pass failed: {self.failure.message}", passes)
        if self._refused_in_a_row:
            return _inference_fails(f"the policy's output was refused: {self.last_refusal}", passes)
        if not self.scheduler.filled:
            late = self.scheduler.late_chunks > self._late_before
            return Tick(DriveState.WAITING, _TOO_SLOW if late else "waiting for the first chunk", None, passes)
        return Tick(DriveState.RUNNING, "no action left: inference takes longer than a chunk lasts", None, passes)

    def _lose(self) -> None:
        now_s = time.monotonic()
        if self._lost_since_s is None:
            self._lost_since_s = now_s
        elif self._inference.task.instruction and now_s - self._lost_since_s > _FORGET_S and self.scheduler.filled:
            self._restart(self._inference.task.instruction)

    def _restart(self, instruction: str) -> None:
        self._inference.task = Task(self._inference.task.generation + 1, instruction)
        self.scheduler.reset()
        self._intervals_ns = []
        self._arrival_ns = None
        self._inference.replan_ns = 0
        self._refused_in_a_row = 0
        self._late_before = self.scheduler.late_chunks

    def _drain(self, now_ns: int) -> list[ForwardPass]:
        accepted = []
        for result in self._worker.results():
            if isinstance(result, Failure):
                self.failure = result
                self._inference.retry_at_s = time.monotonic() + _RETRY_S
                self.scheduler.reset()
            elif result.generation != self._inference.task.generation or result.started_ns > now_ns:
                # From another instruction; or the clock was set back during the pass, so its time is unknown.
                continue
            elif self._accept(result, now_ns):
                accepted.append(result)
        return accepted

    def _accept(self, done: ForwardPass, now_ns: int) -> bool:
        """Give a chunk to the scheduler; return whether it can be driven."""
        self.failure = None
        self.passes += 1
        self.inference_rate.tick(time.monotonic())
        delay_ns = self._delay_ns = now_ns - done.stamp_ns
        try:
            self.scheduler.offer(done.stamp_ns, done.deltas, done.gripper, now_ns, self._next_in_ns(delay_ns))
        except ChunkRefusedError as error:
            self.refused_chunks += 1
            self._refused_in_a_row += 1
            self.last_refusal = str(error)
            return False
        self._refused_in_a_row = 0
        self.latency.add("transport", max(0.0, (done.started_ns - done.stamp_ns) * 1e-9))
        for stage, seconds in done.stages_s.items():
            self.latency.add(stage, seconds)
        finished_ns = done.started_ns + round(done.inference_s * 1e9)
        self.latency.add("schedule", max(0.0, (now_ns - finished_ns) * 1e-9))
        return True

    def _next_in_ns(self, delay_ns: int) -> int:
        """Return the expected time until the next chunk: the longest of the last five intervals plus 10 %."""
        before_ns, self._arrival_ns = self._arrival_ns, self.mono_ns()
        # A simulated clock may have been set back.
        if before_ns is not None and before_ns <= self._arrival_ns:
            self._intervals_ns = [*self._intervals_ns[-4:], self._arrival_ns - before_ns]
        return round(1.1 * max(self._intervals_ns, default=delay_ns))

    def _measure(self, action: Action, now_ns: int) -> None:
        """Measure the time from an observation to the first command from it."""
        if action.stamp_ns != self._stamp_measured:
            self._stamp_measured = action.stamp_ns
            self.latency.add("total", max(0.0, (now_ns - action.stamp_ns) * 1e-9))


def _inference_fails(message: str, passes: list[ForwardPass]) -> Tick:
    return Tick(DriveState.ERROR, message, None, passes, Fault.INFERENCE)
