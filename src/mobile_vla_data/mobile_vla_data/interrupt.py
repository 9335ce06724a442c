"""Ctrl-C in a command raises its own exception: command-line libraries end a KeyboardInterrupt without a message."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """SIGINT arrived. The message, if there is one, says how to continue."""


def raise_interrupted() -> None:
    """Let SIGINT raise :class:`Interrupted` in the main thread; where it is ignored, it stays ignored.

    Python drops what is raised in a destructor: then it is raised again a moment later.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _raise_again


@contextmanager
def deferred() -> Iterator[None]:
    """Defer Ctrl-C until the block is done, and keep it from processes that are started in it."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: arrived.append(number))
    # Child processes inherit the mask. It is not enough here: the signal may be delivered to another thread.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if arrived:
            before(signal.SIGINT, None)


def _raise_again(dropped: sys.UnraisableHookArgs) -> None:
    if isinstance(dropped.exc_value, Interrupted):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted
