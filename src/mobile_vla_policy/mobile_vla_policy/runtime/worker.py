"""Inference on its own thread, so that a slow or stuck forward pass delays neither a command nor a shutdown."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")

#: Niceness of the inference thread and of the threads that torch starts from it: threads that send commands come first,
#: here and in the gate. With free cores it costs nothing.
_NICENESS = 5


@dataclass(frozen=True)
class Failure:
    """An exception that a step raised."""

    message: str
    """One line: type and text."""
    traceback: str


def _no_one() -> None:
    """Do nothing."""


class InferenceWorker(Generic[Result]):
    """Calls ``step`` on its thread: whenever it is woken, and again at once as long as ``step`` returns a result.

    ``step`` takes the newest input itself when the thread is free: no inputs queue up behind a slow pass. It returns
    None if nothing is due. The thread that owns everything else fetches results and failures with :meth:`results`;
    ``notify``, which is called on the inference thread, may wake it.
    """

    def __init__(self, step: Callable[[], Result | None], notify: Callable[[], None] = _no_one) -> None:
        self._step, self._notify = step, notify
        self._results: queue.SimpleQueue[Result | Failure] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = False
        self._busy_since_s: float | None = None
        # A daemon: a forward pass that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        """Begin; nothing runs before the first :meth:`wake`."""
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread: there may be work. Never blocks."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Begin no further step, and wait for the running one; return whether the thread has ended.

        A step that never returns keeps its own objects alive, but not the receiver of its result.
        """
        self._stopping = True
        self._notify = _no_one
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """True if the thread has ended without being told to: there will be no further result."""
        return self._thread.ident is not None and not self._stopping and not self._thread.is_alive()

    def results(self) -> list[Result | Failure]:
        """Return results and failures since the last call, oldest first. Never blocks."""
        fetched: list[Result | Failure] = []
        while True:
            try:
                fetched.append(self._results.get_nowait())
            except queue.Empty:
                return fetched

    def busy_s(self) -> float:
        """Return for how long the current step has been running [s]; 0 if none is."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _run(self) -> None:
        try:
            _be_nice()
            while not self._stopping:
                self._wake.wait()
                self._wake.clear()
                while not self._stopping and self._one_step():
                    pass
        except BaseException as error:
            # Not from a step, whose errors are caught below. Reported, because inference stops here.
            self._results.put(_failure(error))

    def _one_step(self) -> bool:
        self._busy_since_s = time.monotonic()
        try:
            result = self._step()
        except Exception as error:
            self._put(_failure(error))
            return False
        finally:
            self._busy_since_s = None
        if result is None:
            return False
        self._put(result)
        return True

    def _put(self, result: Result | Failure) -> None:
        self._results.put(result)
        self._notify()


def _be_nice() -> None:
    """Lower the calling thread's priority."""
    if sys.platform != "linux":
        # On other systems niceness belongs to the process.
        return
    thread = threading.get_native_id()
    # Some containers forbid it; inference goes on nevertheless.
    with contextlib.suppress(OSError):
        # A process that is already nicer stays so: lowering niceness is not allowed.
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def _failure(error: BaseException) -> Failure:
    """Describe the exception that is being handled."""
    text = str(error).strip().splitlines()
    return Failure(f"{type(error).__name__}: {text[0] if text else ''}", traceback.format_exc())
