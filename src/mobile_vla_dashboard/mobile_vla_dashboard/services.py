"""Services of gate, policy and recorder that the page may call, and their replies as one line for the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any
from uuid import uuid4

from action_msgs.srv import CancelGoal
from std_srvs.srv import Trigger
from unique_identifier_msgs.msg import UUID

from mobile_vla_dashboard.checkpoint_switch import CheckpointSwitch
from mobile_vla_dashboard.robot import Reply
from mobile_vla_dashboard.wording import in_english, say
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.srv import DiscardEpisode, SetInstruction, StartEpisode, StopEpisode

STOP = "gate/stop"
_SERVICES: dict[str, tuple[type, str, str]] = {
    # name on the page: type, service, who offers it (in the table of words)
    STOP: (Trigger, "gate/stop", "node.gate"),
    "gate/resume": (Trigger, "gate/resume", "node.gate"),
    "policy/set_instruction": (SetInstruction, "policy/set_instruction", "node.policy"),
    "policy/execute": (ExecuteInstruction.Impl.SendGoalService, "policy/execute/_action/send_goal", "node.policy"),
    "policy/cancel_goals": (CancelGoal, "policy/execute/_action/cancel_goal", "node.policy"),
    "recorder/start_episode": (StartEpisode, "recorder/start_episode", "node.recorder"),
    "recorder/stop_episode": (StopEpisode, "recorder/stop_episode", "node.recorder"),
    "recorder/discard_episode": (DiscardEpisode, "recorder/discard_episode", "node.recorder"),
}


class Services:
    """Calls services from any thread. ``post`` leaves work to the ROS thread."""

    def __init__(self, node: Any, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self._clients_by_name = {name: node.create_client(kind, path) for name, (kind, path, _) in _SERVICES.items()}
        self._switch = CheckpointSwitch(node)

    def call(self, service: str, fields: Mapping[str, str]) -> Future[Reply]:
        """Call a service with string fields; the reply holds one line for the user."""
        reply: Future[Reply] = Future()
        if service == STOP:
            # At once, on the web server's thread: the ROS thread may be busy with images. rclpy's clients allow that.
            self._call(service, {}, reply)
        else:
            self._post(partial(self._call, service, dict(fields), reply))
        return reply

    def _call(self, service: str, fields: dict[str, str], reply: Future[Reply]) -> None:
        if reply.cancelled():
            return
        if service == "policy/load_checkpoint":
            self._switch.load(fields["checkpoint"], partial(_settle, reply))
            return
        kind, path, who = _SERVICES[service]
        client = self._clients_by_name[service]
        if not client.service_is_ready():
            _settle(reply, Reply.refusal(say("reply.absent", who=say(who), service=path)))
            return
        future = client.call_async(_goal_of(fields) if service == "policy/execute" else kind.Request(**fields))
        # An answer that is no longer waited for must not be kept forever.
        reply.add_done_callback(
            lambda done: self._post(partial(client.remove_pending_request, future)) if done.cancelled() else None
        )
        future.add_done_callback(lambda done: _settle(reply, _reply_of(done.result())))


def _settle(reply: Future[Reply], value: Reply) -> None:
    # A cancelled reply: the web server has stopped waiting and has told the browser.
    if reply.set_running_or_notify_cancel():
        reply.set_result(value)


def _goal_of(fields: Mapping[str, str]) -> Any:
    """Return the request that an action client would send, with the fields of the goal."""
    goal = ExecuteInstruction.Goal(instruction=fields["instruction"], time_limit_s=float(fields["time_limit_s"]))
    number = UUID(uuid=[*(bytes.fromhex(fields["id"]) if "id" in fields else uuid4().bytes)])
    return ExecuteInstruction.Impl.SendGoalService.Request(goal_id=number, goal=goal)


def _reply_of(response: Any) -> Reply:
    if isinstance(response, ExecuteInstruction.Impl.SendGoalService.Response):
        words = say("reply.accepted" if response.accepted else "reply.rejected")
        return Reply(bool(response.accepted), in_english(words), words=words)
    if isinstance(response, CancelGoal.Response):
        words = say("reply.cancelled")
        return Reply(response.return_code == CancelGoal.Response.ERROR_NONE, in_english(words), words=words)
    details = [response.message] if response.message else []
    if getattr(response, "path", ""):
        details.append(response.path)
    return Reply(bool(response.success), "; ".join(details))
