"""Loads another checkpoint into a running policy_node, through the services that every lifecycle node has."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node

from mobile_vla_dashboard.robot import Reply
from mobile_vla_dashboard.wording import say

#: Transitions that lead from a state to the unconfigured one.
_DOWN = {
    State.PRIMARY_STATE_UNCONFIGURED: [],
    State.PRIMARY_STATE_INACTIVE: [Transition.TRANSITION_CLEANUP],
    State.PRIMARY_STATE_ACTIVE: [Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP],
}
_UP = [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE]


class CheckpointSwitch:
    """Talks to the node ``policy_node`` of the dashboard's namespace. Used on the executor's thread only."""

    def __init__(self, node: Node) -> None:
        self._state = node.create_client(GetState, "policy_node/get_state")
        self._change = node.create_client(ChangeState, "policy_node/change_state")
        self._set = node.create_client(SetParameters, "policy_node/set_parameters")

    def load(self, checkpoint: str, done: Callable[[Reply], None]) -> None:
        """Deactivate the policy, load ``checkpoint`` and activate it; ``done`` gets the reply."""
        if not all(client.service_is_ready() for client in (self._state, self._change, self._set)):
            done(Reply.refusal(say("switch.absent")))
            return
        self._go_on(self._steps(checkpoint), None, done)

    def _go_on(self, steps: Generator[Any, Any, Reply], answer: Any, done: Callable[[Reply], None]) -> None:
        # Callbacks, not a coroutine: rclpy before Kilted polls a waiting one without pause.
        try:
            future = steps.send(answer)
        except StopIteration as end:
            done(end.value)
            return
        future.add_done_callback(lambda ended: self._go_on(steps, ended.result(), done))

    def _steps(self, checkpoint: str) -> Generator[Any, Any, Reply]:
        state = (yield self._state.call_async(GetState.Request())).current_state
        if state.id not in _DOWN:
            return Reply.refusal(say("switch.state", state=state.label))
        for transition in _DOWN[state.id]:
            if not (yield self._transition(transition)).success:
                return Reply.refusal(say("switch.deactivate"))
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=checkpoint)
        request = SetParameters.Request(parameters=[Parameter(name="checkpoint", value=value)])
        (result,) = (yield self._set.call_async(request)).results
        if not result.successful:
            return Reply(False, result.reason)
        for transition in _UP:
            if not (yield self._transition(transition)).success:
                return Reply.refusal(say("switch.load"))
        return Reply(True, "loaded")

    def _transition(self, number: int) -> Any:
        return self._change.call_async(ChangeState.Request(transition=Transition(id=number)))
