"""Shared by keep_in and the obstacles: how old a measurement is, and from which speed the robot can still stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A topic without a message for this long is silent [s].
_ARRIVES_S = 2.0


@dataclass
class Newest:
    """The newest messages of a topic. Times are on the gate's clock [s]."""

    topic: str
    max_age_s: float
    """A measurement made longer ago than this is stale."""
    measured_s: float = -math.inf
    """When the newest accepted one was measured."""
    received_s: float = -math.inf
    """When the newest one was received, refused ones included."""
    refusal: str = ""
    """Why the newest one was refused; empty when it was accepted."""

    def accept(self, measured_s: float, received_s: float) -> None:
        """Note a message that can be used."""
        self.measured_s, self.received_s, self.refusal = measured_s, received_s, ""

    def refuse(self, why: str, received_s: float) -> None:
        """Note a message that cannot be used."""
        self.received_s, self.refusal = received_s, why

    def fresh(self, now_s: float) -> bool:
        """Return whether the newest accepted measurement can be used at ``now_s``."""
        return abs(now_s - self.measured_s) <= self.max_age_s

    def why_unknown(self, now_s: float) -> str:
        """Return why there is no measurement to use, in one line without numbers that change from tick to tick."""
        if self.received_s == -math.inf:
            return f"nothing has arrived on '{self.topic}'"
        if now_s - self.received_s > _ARRIVES_S:
            return f"'{self.topic}' is silent"
        if self.refusal:
            return f"messages on '{self.topic}' are refused: {self.refusal}"
        if abs(self.received_s - self.measured_s) > self.max_age_s:
            return (
                f"messages arrive on '{self.topic}', but their stamps are not this machine's time; "
                "synchronise the clocks (chrony), or find what delays the messages"
            )
        return f"'{self.topic}' is silent"


def stoppable(room: float, braking: float, reaction_s: float) -> float:
    """Return the speed v that can be braked within ``room``: v * reaction + v^2 / (2 a) = room, solved for v."""
    if math.isinf(room):
        return math.inf
    unbraked = braking * reaction_s
    return max(0.0, math.sqrt(unbraked**2 + 2.0 * braking * room) - unbraked)
