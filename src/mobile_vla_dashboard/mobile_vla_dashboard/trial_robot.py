"""What a trial needs to know about the robot, from its newest statuses. No rclpy."""

from __future__ import annotations

import time

from mobile_vla_dashboard.goal import Goal
from mobile_vla_dashboard.latest import Latest
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import PolicyStatus

#: A policy that is silent for this long while it loads has died [s]; a busy machine may delay its status for a few.
DEAD_S = 15.0
#: The result of a goal comes at most this long after its end [s].
_RESULT_WITHIN_S = 1.0
_READY = (PolicyStatus.STATE_WAITING, PolicyStatus.STATE_RUNNING)


def is_stopped(latest: Latest) -> bool:
    """Return True if the gate says that the robot is stopped."""
    gate = latest.fresh("gate")
    return gate is not None and bool(gate.stopped)


def policy_died(latest: Latest) -> bool:
    """Return True if the policy was heard, but not for :data:`DEAD_S`."""
    status = latest.status("policy")
    return status is not None and time.monotonic() - status.received_s > DEAD_S


def is_loading(latest: Latest) -> bool:
    """Return True while the policy loads a checkpoint."""
    status = latest.status("policy")
    return status is not None and status.message.state == PolicyStatus.STATE_LOADING and not policy_died(latest)


def loaded_checkpoint(latest: Latest) -> str:
    """Return the checkpoint that the policy has loaded; empty if none is ready."""
    status = latest.fresh("policy")
    return "" if status is None or status.state not in _READY else str(status.checkpoint)


def ended_goal(latest: Latest, goal_id: str) -> Goal | None:
    """Return a goal if it has ended and its result is known, or will not be. It has ended if another replaced it."""
    heard = latest.status("goal")
    if heard is None:
        return None
    goal: Goal = heard.message
    if goal.id != goal_id:
        return Goal(running=False, error_code=ExecuteInstruction.Result.PREEMPTED) if goal_id in goal.before else None
    late = time.monotonic() - heard.received_s > _RESULT_WITHIN_S
    return goal if not goal.running and (goal.error_code is not None or late) else None
