"""Wait for conditions instead of for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Poll until ``condition()`` is true and return its result; raise TimeoutError naming ``what`` otherwise.

    The limit is for conditions that never become true; a busy machine may take seconds where an idle one takes
    milliseconds.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what or condition}")
        time.sleep(0.005)
    return result
