"""Ctrl-C in a command: an exception of its own, since command-line libraries end a KeyboardInterrupt without a word."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """SIGINT arrived. The message, if there is one, says how to go on."""


def raise_interrupted() -> None:
    """From now on SIGINT raises :class:`Interrupted` in the main thread; where it is ignored, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


@contextmanager
def deferred() -> Iterator[None]:
    """Ctrl-C waits until the block is done, and never reaches a process that is started in it."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: arrived.append(number))
    # Inherited by what is started. It is not enough by itself: a signal may be given to another thread.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if arrived:
            before(signal.SIGINT, None)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted
