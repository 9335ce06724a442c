"""Loading as the node sees it: in the background, with progress to be heard."""

from __future__ import annotations

import time
from collections.abc import Callable

from mobile_vla_data.contract import Contract
from mobile_vla_policy.runtime.loader import PolicyLoader
from mobile_vla_policy.runtime.protocol import DrivingPolicy
from mobile_vla_ros.run import StartError


def wait_for(loader: PolicyLoader, stopping: Callable[[], bool], tell: Callable[[], None]) -> None:
    """Wait until ``loader`` is done, or the process is told to stop; calls ``tell`` twice a second meanwhile.

    For a transition: rclpy's transitions are synchronous, so that the executor's timers cannot tell.
    """
    tell_at_s = 0.0
    while not loader.done and not stopping():
        if time.monotonic() >= tell_at_s:
            tell_at_s = time.monotonic() + 0.5
            tell()
        time.sleep(0.02)


def loaded(loader: PolicyLoader, contract: Contract) -> DrivingPolicy:
    """The policy of a loader that is done; raises why there is none, or why it is not for this robot."""
    if loader.error is not None:
        raise loader.error
    if loader.policy is None:
        raise StartError("told to stop while the checkpoint was being loaded")
    contract.require_same(loader.policy.contract, "this robot", f"the checkpoint {loader.checkpoint}")
    return loader.policy
