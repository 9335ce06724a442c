"""For tests of whatever drives through the gate: what the gate promises about time limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.testing import StampedVelocities


def require_timeouts(statuses: Sequence[GateStatus], velocities: StampedVelocities, policy_timeout_s: float) -> None:
    """Assert that the gate has stopped a silent policy at its time limit, every time it did, by its own clock and tick.

    ``statuses`` are every ``gate/status`` and ``velocities`` every ``cmd_vel`` since the policy began to drive. The
    gate looks once a tick, and a busy machine makes a tick late. How late is told by the stamps: it looked after it had
    sent the last but two, and did not find the policy silent yet.
    """
    stops = [after for before, after in pairwise(statuses) if after.timeouts > before.timeouts]
    judged = [(stop, ticks_s) for stop in stops if (ticks_s := velocities.two_ticks_s(to_ns(stop.header.stamp)))]
    assert judged, "the gate has seen no policy fall silent"
    for stop, ticks_s in judged:
        assert policy_timeout_s < stop.policy_age_s < policy_timeout_s + ticks_s + 0.005, (ticks_s, stop)
