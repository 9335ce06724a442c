"""policy_node whose forward passes take longer than they need: python slow_policy_node.py SECONDS --ros-args ..."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from mobile_vla_data.contract import Contract
from mobile_vla_policy.engine.choices import EngineOptions
from mobile_vla_policy.node.policy_node import main
from mobile_vla_policy.runtime.loader import load_checkpoint


class SlowPolicy:
    """A policy, with every forward pass filled up to ``seconds``."""

    def __init__(self, policy: Any, seconds: float) -> None:
        self._policy, self._seconds = policy, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def predict(self, *arguments: Any, **named: Any) -> Any:
        """Predict, and sleep for the rest of the time."""
        ready_at = time.monotonic() + self._seconds
        result = self._policy.predict(*arguments, **named)
        time.sleep(max(0.0, ready_at - time.monotonic()))
        return result


def load(checkpoint: Path, options: EngineOptions, contract: Contract) -> Any:
    """Load the real one and slow it down."""
    return SlowPolicy(load_checkpoint(checkpoint, options, contract), float(sys.argv[1]))


if __name__ == "__main__":
    main(load)
