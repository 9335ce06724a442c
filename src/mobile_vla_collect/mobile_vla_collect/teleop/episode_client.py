"""Requests of teleop buttons and keys to the recorder and the gate; the answers are lines for a human."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from mobile_vla_data.instruction import InstructionError, normalise_instruction
from mobile_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from mobile_vla_ros.parameters import text
from mobile_vla_ros.run import StartError


class EpisodeClient:
    """Calls services without waiting: a slow answer must not hold up driving.

    Declares the parameters ``language``, ``task``, ``category`` and ``environment`` of the episodes that it starts. The
    recorder fills empty ones from the collection plan, or from the instruction that the policy follows. It also knows
    the episodes' source.
    """

    def __init__(self, node: Any, say: Callable[[str], None]) -> None:
        self._say = say
        self._start_request = StartEpisode.Request(
            language=_instruction(node),
            task=text(node, "task", "", "task of the episodes; empty: the collection plan's"),
            category=text(node, "category", "", "navigation, manipulation or combined; empty: the collection plan's"),
            environment=text(
                node, "environment", "", "JSON object: room, object, lighting ...; empty: the collection plan's"
            ),
        )
        self._start = node.create_client(StartEpisode, "recorder/start_episode")
        self._stop = node.create_client(StopEpisode, "recorder/stop_episode")
        self._discard = node.create_client(DiscardEpisode, "recorder/discard_episode")
        self._gate = {name: node.create_client(Trigger, f"gate/{name}") for name in ("stop", "resume")}

    def start(self) -> None:
        """Start an episode."""
        self._call(self._start, self._start_request, "the recorder")

    def stop(self, outcome: str) -> None:
        """Stop with success or failure."""
        self._call(self._stop, StopEpisode.Request(outcome=outcome), "the recorder")

    def discard(self) -> None:
        """Discard the open episode."""
        self._call(self._discard, DiscardEpisode.Request(reason="discarded by the operator"), "the recorder")

    def rerecord(self) -> None:
        """Discard the open episode, then start another one."""
        self._call(
            self._discard,
            DiscardEpisode.Request(reason="the operator is recording it again"),
            "the recorder",
            then=self.start,
        )

    def gate(self, name: str) -> None:
        """Call gate/stop or gate/resume."""
        self._call(self._gate[name], Trigger.Request(), "the gate")

    def _call(self, client: Any, request: Any, whom: str, then: Callable[[], None] | None = None) -> None:
        if not client.service_is_ready():
            self._say(f"{whom} is not running: service {client.srv_name} does not exist")
            return

        def done(future: Any) -> None:
            response = future.result()
            self._say(response.message or ("done" if response.success else "refused"))
            if response.success and then is not None:
                then()

        client.call_async(request).add_done_callback(done)


def _instruction(node: Any) -> str:
    """Read the parameter ``language``. Raises :class:`StartError` for a text that cannot be an instruction."""
    given = text(node, "language", "", "instruction of the episodes; empty: the collection plan's")
    try:
        return normalise_instruction(given)
    except InstructionError as error:
        raise StartError(f"{node.get_name()}: parameter 'language': {error}") from None
