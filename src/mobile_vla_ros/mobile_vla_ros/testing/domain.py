"""A DDS domain for one test process."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

#: Domain ids for tests. Up to 101 the DDS ports stay below Linux' ephemeral ports; low ids are in common use.
_DOMAINS = range(60, 102)
#: Environment in which nodes talk over UDP only, for tests that kill them. A restarted node gets the ports of the one
#: that was killed; a peer that has that one's shared memory open goes on sending there, so that its requests get no
#: answer (eProsima/Fast-DDS#5469), or waits for a lock forever (#6485). LOCALHOST adds shared memory.
WITHOUT_SHARED_MEMORY = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}


@contextmanager
def unique_domain() -> Iterator[int]:
    """Hold a domain id that no other test process on this machine has, and put it into the environment.

    The environment also gets a folder for state: a stop that a launched gate remembers must not affect other tests or
    the user's robot.
    """
    for domain_id in _DOMAINS:
        # A name in the kernel, not a file: it is valid on the whole machine, like DDS, and ends with its process,
        # whatever TMPDIR is.
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0mobile_vla_test_domain_{domain_id}")
        except OSError:
            claim.close()
            continue
        if _heard_from(domain_id):
            # A robot or simulation that was started by hand.
            claim.close()
            continue
        state = tempfile.TemporaryDirectory(prefix="mobile_vla_test_")
        here = {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "XDG_STATE_HOME": state.name,
        }
        if os.environ.get("ROS_DISTRO") == "humble":
            # Humble knows no discovery range; later distributions warn that this variable is deprecated.
            here["ROS_LOCALHOST_ONLY"] = "1"
        before = {name: os.environ.get(name) for name in here}
        os.environ.update(here)
        try:
            yield domain_id
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            claim.close()
            state.cleanup()
        return
    raise RuntimeError(f"all {len(_DOMAINS)} test domains are in use; wait for other tests to end")


def _heard_from(domain_id: int) -> bool:
    """Return True if the first discovery port of the domain is in use (RTPS 2.2, 9.6.1.1: 7400 + 250 d + 10)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain_id + 10))
        except OSError:
            return True
    return False
