"""A script beside the executor: nodes that lead a robot through a sequence of calls write it as plain, waiting code.

The script runs on a thread; callbacks go on being served by the executor. It ends early, at the next wait, when the
node is closed.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from mobile_vla_ros.run import StartError


class Stopped(Exception):  # noqa: N818 - not an error: the node was asked to end
    """The node is being closed; the script unwinds."""


class Conductor:
    """Runs ``script`` on a thread and sets ``node.exit_code`` when it ends: 0, or 1 after one line on stderr."""

    def __init__(self, node: Any, script: Callable[[], None]) -> None:
        self._node, self._script = node, script
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="script", daemon=True)

    def start(self) -> None:
        """Begin the script."""
        self._thread.start()

    def close(self) -> None:
        """Ask the script to end at its next wait."""
        self._stop.set()
        self._thread.join(2.0)

    def sleep(self, duration_s: float) -> None:
        """Wait. Raises :class:`Stopped`."""
        if self._stop.wait(max(0.0, duration_s)):
            raise Stopped

    def wait_until(self, condition: Callable[[], Any], timeout_s: float, otherwise: str) -> Any:
        """Wait for a true value of ``condition`` and return it.

        Raises:
            StartError: it did not come within ``timeout_s``; the message is ``otherwise``.
            Stopped: the node is being closed.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise StartError(otherwise)
            self.sleep(0.01)
        return value

    def call(self, client: Any, request: Any, timeout_s: float = 10.0) -> Any:
        """Call a service and return its response; errors as :meth:`wait_until`."""
        name = client.srv_name
        self.wait_until(
            client.service_is_ready, timeout_s, f"service {name} is not there after {timeout_s:g} s; start its node"
        )
        future = client.call_async(request)
        self.wait_until(future.done, timeout_s, f"service {name} did not answer within {timeout_s:g} s")
        return future.result()

    def _run(self) -> None:
        try:
            self._script()
            self._node.exit_code = 0
        except Stopped:
            pass
        except StartError as error:
            print(f"error: {error}", file=sys.stderr)
            self._node.exit_code = error.status
        except Exception:
            traceback.print_exc()
            self._node.exit_code = 1
