"""For tests of nodes that drive through the gate: its promise about time limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.testing import StampedVelocities


def require_timeouts(statuses: Sequence[GateStatus], velocities: StampedVelocities, policy_timeout_s: float) -> None:
    """Assert that the gate stopped a silent policy at its time limit, each time, by the gate's clock and tick.

    ``statuses`` are all messages of ``gate/status``, and ``velocities`` all of ``cmd_vel``, since the policy began to
    drive. The gate checks once a tick, and a busy machine makes a tick late. The stamps show how late: when it had sent
    the last but two, the policy was not silent yet.
    """
    stops = [after for before, after in pairwise(statuses) if after.timeouts > before.timeouts]
    judged = [(stop, ticks_s) for stop in stops if (ticks_s := velocities.two_ticks_s(to_ns(stop.header.stamp)))]
    assert judged, "no policy fell silent"
    for stop, ticks_s in judged:
        assert policy_timeout_s < stop.policy_age_s < policy_timeout_s + ticks_s + 0.005, (ticks_s, stop)
