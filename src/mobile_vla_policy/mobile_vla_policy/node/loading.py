"""Loading as the node sees it: in the background, with progress to be heard."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

from mobile_vla_data.contract import Contract
from mobile_vla_policy.node.parameters import SettableParameters
from mobile_vla_policy.runtime.loader import LoadPolicy, PolicyLoader
from mobile_vla_policy.runtime.protocol import DrivingPolicy
from mobile_vla_policy.runtime.settings import require_checkpoint
from mobile_vla_ros.run import StartError


def begin_loading(load: LoadPolicy, settings: SettableParameters, contract: Contract) -> PolicyLoader:
    """Load what the parameters say; ValueError with one line when there is nothing that could be loaded."""
    return PolicyLoader(load, require_checkpoint(settings["checkpoint"]), settings.engine, contract)


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


def keep_in_memory() -> None:
    """Take what was loaded out of the garbage collector's sight.

    A full collection looks at every object of torch and transformers, for a tenth of a second in which no command goes
    out.
    """
    gc.collect()
    gc.freeze()


def release_memory(*, gpu: bool = False) -> None:
    """Undo :func:`keep_in_memory`, and free what nobody refers to any more.

    ``gpu``: there, too. Not while a policy is being loaded: torch may be imported by half then.
    """
    gc.unfreeze()
    gc.collect()
    torch = sys.modules.get("torch") if gpu else None
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
