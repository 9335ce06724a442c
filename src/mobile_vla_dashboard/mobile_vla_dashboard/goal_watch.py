"""Watches ``policy/execute``: the newest goal, its progress and its result, whichever client sent it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import qos_profile_action_status_default

from mobile_vla_dashboard.goal import Goal
from mobile_vla_msgs.action import ExecuteInstruction

_ACTION = "policy/execute/_action"
_RUNNING = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)


class GoalWatch:
    """Calls ``tell(goal)`` whenever something about the newest goal is known. On the ROS thread."""

    def __init__(self, node: Any, tell: Callable[[Goal], None]) -> None:
        self._tell = tell
        self._id = b""
        self._before: frozenset[str] = frozenset()
        self._goal = Goal(running=False)
        node.create_subscription(
            GoalStatusArray, f"{_ACTION}/status", self._on_status, qos_profile_action_status_default
        )
        node.create_subscription(ExecuteInstruction.Impl.FeedbackMessage, f"{_ACTION}/feedback", self._on_feedback, 10)
        self._results = node.create_client(ExecuteInstruction.Impl.GetResultService, f"{_ACTION}/get_result")

    def _on_status(self, message: GoalStatusArray) -> None:
        if not message.status_list:
            # A policy that was restarted knows no goals.
            if self._goal.running:
                self._say(replace(self._goal, running=False))
            return
        newest = max(message.status_list, key=lambda item: (item.goal_info.stamp.sec, item.goal_info.stamp.nanosec))
        running, known = newest.status in _RUNNING, bytes(newest.goal_info.goal_id.uuid) == self._id
        if not known:
            listed = {bytes(item.goal_info.goal_id.uuid).hex() for item in message.status_list}
            self._before = frozenset(listed | {self._id.hex()})
            self._id = bytes(newest.goal_info.goal_id.uuid)
            self._say(Goal(running=running))
        elif running or not self._goal.running:
            return
        if not running:
            self._say(replace(self._goal, running=False))
            self._ask(newest.goal_info.goal_id)

    def _ask(self, goal_id: Any) -> None:
        if not self._results.service_is_ready():
            return
        request = ExecuteInstruction.Impl.GetResultService.Request(goal_id=goal_id)
        asked = self._id
        self._results.call_async(request).add_done_callback(lambda done: self._on_result(asked, done.result().result))

    def _on_result(self, asked: bytes, result: Any) -> None:
        if asked == self._id:
            known = {"steps": result.steps, "elapsed_s": result.duration_s}
            self._say(Goal(running=False, error_code=result.error_code, message=result.message, **known))

    def _on_feedback(self, message: Any) -> None:
        if bytes(message.goal_id.uuid) == self._id and self._goal.running:
            feedback = message.feedback
            self._say(Goal(running=True, steps=feedback.step, elapsed_s=feedback.elapsed_s))

    def _say(self, goal: Goal) -> None:
        self._goal = replace(goal, id=self._id.hex(), before=self._before)
        self._tell(self._goal)
