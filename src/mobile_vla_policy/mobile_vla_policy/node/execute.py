"""The action policy/execute: follow one instruction until the robot arrives, or the goal ends otherwise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse

from mobile_vla_data.instruction import normalise_instruction
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import ActionChunk
from mobile_vla_policy.runtime.arrival import Arrival
from mobile_vla_policy.runtime.driver import Fault, PolicyDriver, Tick

Result = ExecuteInstruction.Result

_CODE = {Fault.INFERENCE: Result.INFERENCE_FAILED, Fault.ANOTHER_POLICY: Result.ANOTHER_POLICY}


class _DeferringServer(ActionServer):
    """An action server whose goals are finished from a timer, not by a callback that lasts as long as the goal.

    A blocking callback needs a multi-threaded executor, and rclpy before Kilted polls an awaiting one without pause:
    both cost more processor time than the rest of the node.
    """

    def notify_execute(self, goal_handle: Any, execute_callback: Any) -> None:
        """Do nothing: ``goal_handle.execute()`` calls this once the goal's state is EXECUTING."""

    def finish(self, goal_handle: Any, end: Callable[[], None], result: Result) -> None:
        """Bring a goal to the state that ``end`` sets, and send its result."""

        def callback(_goal_handle: Any) -> Result:
            end()
            return result

        super().notify_execute(goal_handle, callback)


@dataclass
class _Goal:
    handle: Any
    instruction: str
    mono_ns: Callable[[], int]
    """The driver's clock, which is simulated in a simulation."""
    limit_s: float
    """Infinite without a limit."""
    passes_before: int
    starved_before: int

    def __post_init__(self) -> None:
        self._began_ns = self._last_ns = self.mono_ns()

    def elapsed_s(self) -> float:
        """Return the time since the goal began [s]."""
        now_ns = self.mono_ns()
        # A simulated clock may be set back, and is 0 until its first message: neither jump is time that passed.
        if now_ns < self._last_ns or not self._last_ns:
            self._began_ns += now_ns - self._last_ns
        self._last_ns = now_ns
        return (now_ns - self._began_ns) * 1e-9


class ExecuteServer:
    """Holds the one goal that is running. ``driver()`` returns the driver while the node is active, else None."""

    def __init__(
        self,
        node: Any,
        driver: Callable[[], PolicyDriver | None],
        observation_timeout_s: float,
        arrival: Arrival,
        in_command: Callable[[], bool],
    ) -> None:
        """``in_command()`` returns whether the policy commands the robot: no operator and no stop overrides it."""
        self._node = node
        self._driver = driver
        self._observation_timeout_s = observation_timeout_s
        self._arrival = arrival
        self._in_command = in_command
        self._goal: _Goal | None = None
        self._server = _DeferringServer(
            node,
            ExecuteInstruction,
            "policy/execute",
            execute_callback=lambda _goal: Result(),
            # Every goal is accepted, so that a goal that cannot be executed gets a result with the reason.
            goal_callback=lambda _request: GoalResponse.ACCEPT,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=lambda _handle: CancelResponse.ACCEPT,
        )

    @property
    def busy(self) -> bool:
        """True while a goal is running."""
        return self._goal is not None

    def tick(self, tick: Tick) -> None:
        """Finish the running goal if this tick ends it."""
        goal, driver = self._goal, self._driver()
        if goal is None or driver is None:
            return
        arrived = self._arrival.update(goal.mono_ns() * 1e-9, tick.action if self._in_command() else None)
        elapsed_s = goal.elapsed_s()
        if goal.handle.is_cancel_requested:
            self._end(goal.handle.canceled, Result.CANCELLED, "cancelled; the robot was stopped")
        elif arrived:
            self._end(goal.handle.succeed, Result.ARRIVED, "arrived: the policy has stood still since it moved")
        elif elapsed_s >= goal.limit_s:
            self._end(goal.handle.succeed, Result.OK, f"the time limit of {goal.limit_s:g} s was reached")
        elif driver.lost_s() > self._observation_timeout_s:
            self._end(goal.handle.abort, Result.OBSERVATION_LOST, tick.message)
        elif tick.fault is not None:
            self._end(goal.handle.abort, _CODE[tick.fault], tick.message)

    def feedback(self, chunk: ActionChunk) -> None:
        """Send the goal's client feedback about a forward pass."""
        goal, driver = self._goal, self._driver()
        if goal is None or driver is None:
            return
        goal.handle.publish_feedback(
            ExecuteInstruction.Feedback(
                step=driver.passes - goal.passes_before,
                elapsed_s=goal.elapsed_s(),
                inference_rate_hz=driver.inference_rate.rate_hz(time.monotonic()),
                latency_s=chunk.inference_s,
                chunk=chunk,
            )
        )

    def deactivated(self) -> None:
        """End the running goal because the node is leaving the active state."""
        if self._goal is not None:
            self._end(self._goal.handle.abort, Result.DEACTIVATED, "the policy node was deactivated")

    def _on_accepted(self, handle: Any) -> None:
        handle.execute()
        driver, request = self._driver(), handle.request
        if driver is None:
            self._reject(handle, Result.NOT_ACTIVE, "the policy node is not active; activate it first")
            return
        try:
            instruction = normalise_instruction(request.instruction)
            problem = "" if instruction else "the instruction is empty; say what to do"
            problem = problem or driver.check_instruction(instruction)
        except ValueError as error:
            problem = str(error)
        if not (math.isfinite(request.time_limit_s) and request.time_limit_s >= 0):
            problem = f"time_limit_s is {request.time_limit_s}; it must be 0 (none) or more"
        if problem:
            self._reject(handle, Result.INVALID_REQUEST, problem)
            return
        if self._goal is not None:
            self._end(self._goal.handle.abort, Result.PREEMPTED, f"replaced by the goal '{instruction}'")
        self._goal = _Goal(
            handle,
            instruction,
            driver.mono_ns,
            request.time_limit_s or math.inf,
            driver.passes,
            driver.scheduler.starved_ticks,
        )
        self._arrival.restart()
        driver.follow(instruction)
        self._node.get_logger().info(f"executing '{instruction}'")

    def _reject(self, handle: Any, code: int, message: str) -> None:
        self._node.get_logger().warning(f"policy/execute refused: {message}")
        self._server.finish(handle, handle.abort, Result(error_code=code, message=message))

    def _end(self, end: Callable[[], None], code: int, message: str) -> None:
        goal, driver = self._goal, self._driver()
        assert goal is not None
        self._goal = None
        result = Result(error_code=code, message=message, duration_s=goal.elapsed_s())
        if driver is not None:
            result.steps = driver.passes - goal.passes_before
            result.starved_ticks = driver.scheduler.starved_ticks - goal.starved_before
            # No instruction from here on: the next tick sends zeros.
            driver.follow("")
        # A cancel request at the same time has already set CANCELING, from which only CANCELED follows.
        self._server.finish(goal.handle, goal.handle.canceled if goal.handle.is_cancel_requested else end, result)
        self._node.get_logger().info(f"'{goal.instruction}' ended: {message}")
