"""What teleop buttons and keys ask of the recorder and of the gate; the answers come back as lines for a human."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from mobile_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from mobile_vla_ros.parameters import text


class EpisodeClient:
    """Calls without waiting: a slow answer must not hold up driving.

    Declares the parameters ``language``, ``task``, ``category`` and ``environment`` of the episodes it starts; empty
    ones are filled by the recorder, from the collection plan or from what the policy follows. Who drives in them, it
    knows, too: beside a policy a human only corrects.
    """

    def __init__(self, node: Any, say: Callable[[str], None]) -> None:
        self._say = say
        self._start_request = StartEpisode.Request(
            language=text(node, "language", "", "instruction of the episodes; empty: the collection plan's"),
            task=text(node, "task", "", "task of the episodes; empty: the collection plan's"),
            category=text(node, "category", "", "navigation, manipulation or combined; empty: the collection plan's"),
            environment=text(node, "environment", "", "JSON object: room, object, lighting ...; empty: the plan's"),
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
        """Throw the open episode away."""
        self._call(self._discard, DiscardEpisode.Request(reason="by hand"), "the recorder")

    def rerecord(self) -> None:
        """Throw the open episode away and start again once it is gone."""
        self._call(self._discard, DiscardEpisode.Request(reason="recorded again"), "the recorder", then=self.start)

    def gate(self, name: str) -> None:
        """Call gate/stop or gate/resume."""
        self._call(self._gate[name], Trigger.Request(), "the gate")

    def _call(self, client: Any, request: Any, whom: str, then: Callable[[], None] | None = None) -> None:
        if not client.service_is_ready():
            self._say(f"{whom} does not answer: {client.srv_name} is not there")
            return

        def done(future: Any) -> None:
            response = future.result()
            self._say(response.message or ("done" if response.success else "refused"))
            if response.success and then is not None:
                then()

        client.call_async(request).add_done_callback(done)
