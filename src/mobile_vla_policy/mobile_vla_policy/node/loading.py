"""Loads a checkpoint for the node: in the background, with progress in the status."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mobile_vla_data.contract import Contract
from mobile_vla_policy.node.parameters import SettableParameters
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy
from mobile_vla_policy.runtime.loader import LoadPolicy, PolicyLoader
from mobile_vla_policy.runtime.settings import require_checkpoint
from mobile_vla_ros.run import StartError

_TELL_EVERY_S = 0.5


class Loaded(NamedTuple):
    """A policy, where it came from, and how long loading took [s]."""

    policy: DrivingPolicy
    checkpoint: Path
    took_s: float


class Loading:
    """Loads at most one policy at a time: :meth:`begin`, then :meth:`wait`."""

    def __init__(self, load: LoadPolicy, contract: Contract) -> None:
        self._load, self._contract = load, contract
        self._loader: PolicyLoader | None = None

    @property
    def running(self) -> bool:
        """True while a policy is being loaded, or is loaded but not yet taken."""
        return self._loader is not None

    @property
    def done(self) -> bool:
        """True if :meth:`wait` would return at once."""
        return self._loader is not None and self._loader.done

    @property
    def progress(self) -> str:
        """One line for the status; empty while nothing is loaded."""
        return "" if self._loader is None else f"{self._loader.progress} ({self._loader.elapsed_s:.0f} s)"

    def begin(self, settings: SettableParameters) -> None:
        """Start to load the checkpoint of the parameters, unless that has begun. Raises ValueError without one."""
        if self._loader is None:
            checkpoint = require_checkpoint(settings["checkpoint"])
            self._loader = PolicyLoader(self._load, checkpoint, settings.engine, self._contract)

    def wait(self, stopping: Callable[[], bool], tell: Callable[[], None]) -> Loaded:
        """Wait for the policy and return it; call ``tell`` twice a second meanwhile.

        rclpy's transitions are synchronous, so the executor's timers cannot publish the status during one.

        Raises:
            StartError: ``stopping`` returned true first.
            Exception: the one that made loading fail.
        """
        loader = self._loader
        assert loader is not None, "begin() comes first"
        try:
            tell_at_s = 0.0
            while not loader.done and not stopping():
                if time.monotonic() >= tell_at_s:
                    tell_at_s = time.monotonic() + _TELL_EVERY_S
                    tell()
                time.sleep(0.02)
            if loader.error is not None:
                raise loader.error
            if loader.policy is None:
                raise StartError("stopped while the checkpoint was being loaded")
            return Loaded(loader.policy, loader.checkpoint, loader.elapsed_s)
        finally:
            self._loader = None

    def abandon(self) -> None:
        """Forget a policy that is being loaded; its thread ends by itself."""
        self._loader = None


def require_same_robot(contract: Contract, loaded: Loaded, log: Any) -> None:
    """Raise ContractError if the policy was trained for another robot; log limits that differ."""
    found = contract.require_same(loaded.policy.contract, "this robot", f"the checkpoint {loaded.checkpoint}")
    if found.stricter:
        log.info(f"stricter here than in training: {'; '.join(found.stricter)}")
    if found.looser:
        log.warning(f"looser here than in training, so motion may be untrained: {'; '.join(found.looser)}")


def keep_in_memory() -> None:
    """Hide everything that was loaded from the garbage collector.

    A full collection looks at every object of torch and transformers, for a tenth of a second without commands.
    """
    gc.collect()
    gc.freeze()


def release_memory(*, gpu: bool = False) -> None:
    """Undo :func:`keep_in_memory`, and free everything that is no longer used.

    ``gpu``: on the GPU, too. Not while a policy is being loaded: torch may be half imported then.
    """
    gc.unfreeze()
    gc.collect()
    torch = sys.modules.get("torch") if gpu else None
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
