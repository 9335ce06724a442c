"""One drive, from activation to deactivation: each tick gets an action from the driver and sends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobile_vla_data.contract import Contract
from mobile_vla_policy.node.commands import Commands
from mobile_vla_policy.node.execute import ExecuteServer
from mobile_vla_policy.node.status import chunk_message
from mobile_vla_policy.runtime.driver import DriveState, Fault, PolicyDriver, Tick
from mobile_vla_policy.runtime.inference import ForwardPass
from mobile_vla_policy.runtime.trace import TraceRecorder
from mobile_vla_ros.clock import STEADY

#: The end waits this long for a running forward pass, whose result is dropped anyway [s].
_STOP_WAIT_S = 0.2
_RIVALS = "another policy commands this robot; stop one of the two, or set its parameter shadow"
#: A slow simulation publishes the time a few times per second.
_CLOCK_STOPPED_S = 1.0
_CLOCK_STOPPED = "the simulated clock does not advance: no new message on /clock"


class Drive:
    """Owns a driver and the timer of its commands, which reach the gate while ``commands`` is armed.

    ``publish_chunk`` takes an ActionChunk, ``changed`` is called after a change of state; ``trace_file`` gets a Chrome
    trace at the end.
    """

    def __init__(
        self,
        node: Any,
        contract: Contract,
        driver: PolicyDriver,
        commands: Commands,
        execute: ExecuteServer,
        publish_chunk: Callable[[Any], None],
        changed: Callable[[], None],
        trace_file: Path | None,
    ) -> None:
        self.driver = driver
        self.last = Tick(DriveState.IDLE, "", None)
        """The newest tick."""
        self.rivals: list[str] = []
        """Other policies that command this robot: while there are any, the robot stands."""
        self._node, self._contract, self._commands, self._execute = node, contract, commands, execute
        self._publish_chunk, self._changed = publish_chunk, changed
        self._trace_file = trace_file
        self._trace = TraceRecorder()
        self._timer: Any = None
        self._clock_ns, self._clock_moved_s = 0, time.monotonic()

    def begin(self, instruction: str, rate_hz: float) -> None:
        """Follow ``instruction``, which may be empty, with commands at ``rate_hz``."""
        self.driver.start()
        self.driver.follow(instruction)
        self._timer = self._node.create_timer(1.0 / rate_hz, self.tick, clock=STEADY)

    def end(self) -> None:
        """Stop the robot. No command can follow the zeros, because only this thread sends commands.

        The zeros come first, so that no other failure can hold them back. A forward pass that does not return in time
        is left behind, see :meth:`ended`.
        """
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        self._commands.disarm()
        self.driver.stop(_STOP_WAIT_S)
        self._execute.deactivated()
        if self._trace_file is not None:
            self._write_trace(self._trace_file)

    def ended(self, timeout_s: float) -> bool:
        """Wait after :meth:`end` for the last forward pass; return whether it has returned in time."""
        return self.driver.stop(timeout_s)

    def chunk_arrived(self) -> None:
        """Use a new chunk at once, and restart the timer's period."""
        if self._timer is not None:
            self._timer.reset()
            self.tick()

    def tick(self) -> None:
        """Send the driver's action for this moment."""
        now_ns = self._now_ns()
        before, tick = self.last, self.driver.tick(now_ns)
        if self._clock_stopped(now_ns) and tick.state is not DriveState.IDLE:
            # Without time there is no age, and this action would be repeated forever.
            tick = Tick(DriveState.WAITING, _CLOCK_STOPPED, None, tick.passes)
        if self.rivals:
            # With two drivers, neither knows what the other is about to do. So both stand.
            message = f"{_RIVALS}: {', '.join(self.rivals)}"
            tick = Tick(DriveState.ERROR, message, None, tick.passes, Fault.ANOTHER_POLICY)
        self.last = tick
        self._commands.send(tick)
        for number, done in enumerate(tick.passes, start=self.driver.passes - len(tick.passes) + 1):
            self._tell_pass(done, number)
        self._execute.tick(tick)
        if (tick.state, tick.message.partition(":")[0]) != (before.state, before.message.partition(":")[0]):
            self._report(tick)

    def _clock_stopped(self, now_ns: int) -> bool:
        """Return whether the clock of the stamps has stopped; only a simulated one can."""
        steady_s = time.monotonic()
        if now_ns != self._clock_ns:
            self._clock_ns, self._clock_moved_s = now_ns, steady_s
        return steady_s - self._clock_moved_s > _CLOCK_STOPPED_S

    def _tell_pass(self, done: ForwardPass, number: int) -> None:
        if self._trace_file is not None:
            self._trace.add(number, done, self._now_ns())
        message = chunk_message(done, number, self._contract)
        self._publish_chunk(message)
        self._execute.feedback(message)

    def _report(self, tick: Tick) -> None:
        log = self._node.get_logger()
        failure = self.driver.failure if tick.fault is Fault.INFERENCE else None
        message = tick.message or f"driving: '{self.driver.instruction}'"
        # One call for each severity: rclpy raises if one line logs at two severities.
        if tick.state is not DriveState.ERROR:
            log.info(message)
        elif failure is None:
            log.error(message)
        else:
            log.error(f"{message}\n{failure.traceback}")
        self._changed()

    def _write_trace(self, file: Path) -> None:
        try:
            count = self._trace.write(file)
            self._node.get_logger().info(f"trace of {count} forward passes: {file}")
        except OSError as error:
            self._node.get_logger().error(f"cannot write the trace: {error}")

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
