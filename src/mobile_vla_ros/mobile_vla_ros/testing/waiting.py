"""Waiting on conditions instead of on time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Poll until ``condition()`` is true and return it; raises TimeoutError naming ``what`` otherwise.

    The limit is for what never comes; a busy machine may well take seconds for what takes milliseconds on an idle one.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what or condition}")
        time.sleep(0.005)
    return result
