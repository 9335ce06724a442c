"""Resets the simulated scene for the expert and the trials, and follows its state."""

from __future__ import annotations

from typing import Any

from mobile_vla_msgs.msg import SimState
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.run import StartError
from mobile_vla_sim.nodes.conductor import Conductor

_SHOWN_WITHIN_S = 5.0


class SceneReset:
    """Client of ``sim/reset``, and listener to ``sim/state``, for ``node``."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.state: SimState | None = None
        """The newest state of the simulation."""
        node.create_subscription(SimState, "sim/state", self._on_state, SENSOR)
        self.client = node.create_client(ResetSim, "sim/reset")

    def reset(self, conductor: Conductor, request: ResetSim.Request, wait_s: float) -> ResetSim.Response:
        """Reset the scene and wait until :attr:`state` is one of the new scene.

        Raises:
            StartError: the simulator refuses, does not answer within ``wait_s``, or does not show the scene.
            Stopped: the node is being closed.
        """
        # The new scene may have the old one's seed: only the count tells them apart.
        count = self.state.reset_count if self.state else 0
        scene = conductor.call(self.client, request, wait_s)
        if not scene.success:
            raise StartError(f"sim/reset refused: {scene.message}")
        conductor.wait_until(
            lambda: self.state is not None and self.state.seed == request.seed and self.state.reset_count != count,
            _SHOWN_WITHIN_S,
            f"'{self._node.resolve_topic_name('sim/state')}' does not show scene {request.seed} after the reset",
        )
        return scene

    def _on_state(self, message: SimState) -> None:
        self.state = message
